// Runs Noom behind real proxies, configured as docs/self-hosting.md says and in variants, and checks what people need:
//   node end2end/proxies/run.mjs PROGRAM [PROXY…]
// PROGRAM is a build of noom. nginx, caddy, haproxy and openssl must be installed: scripts/setup.sh trust.
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { overEvents, overWebSocket, pageOverHttp2, request } from "./clients.mjs";
import { proxies } from "./recipes.mjs";

const [program, ...names] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "noom-proxies-"));
const children = [];
const root = join(import.meta.dirname, "../..");
// Debian has nginx and haproxy there, which is not on the PATH of every user.
process.env.PATH += ":/usr/sbin";

function check(condition, what) {
  if (!condition) throw new Error(what);
}

/** Runs a function that must fail with a message that contains `part`. */
async function refused(attempt, part) {
  const error = await attempt().then(
    () => undefined,
    (error) => error,
  );
  check(error?.message.includes(part), `expected ${part}, got ${error?.message ?? "success"}`);
}

function freePort() {
  return new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

function start(command, options) {
  const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"], ...options });
  child.log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.log += data));
  children.push(child);
  return child;
}

async function startNoom(data, variables) {
  const child = start(
    [resolve(program), "--listen", "127.0.0.1:0", "--data-dir", data, "--config", join(root, "Leptos.toml")],
    {
      env: { ...process.env, RUST_LOG: "warn", ...variables },
    },
  );
  for await (const line of createInterface({ input: child.stdout })) return line.replace("Noom is at http://", "");
  throw new Error(`Noom did not start: ${child.log}`);
}

/** Starts a proxy in front of an address, and waits until it listens. */
async function startProxy(proxy, recipe, site) {
  mkdirSync(site.folder, { recursive: true });
  const [key, certificate] = [join(site.folder, "noom.key"), join(site.folder, "noom.pem")];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", "/CN=noom", "-addext", `subjectAltName=DNS:${site.host}`, "-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  // HAProxy looks for the key beside the certificate.
  copyFileSync(key, `${certificate}.key`);
  const file = join(site.folder, "config");
  writeFileSync(file, proxy.config(recipe, site));
  const child = start(proxy.command(file, site), { env: { ...process.env, HOME: site.folder } });
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) break;
    const isOpen = await new Promise((done) => {
      const socket = connect(site.port, "127.0.0.1", () => done(true)).once("error", () => done(false));
      socket.once("close", () => socket.destroy());
      setTimeout(() => socket.destroy(), 1_000);
    });
    if (isOpen) return;
    await sleep(50);
  }
  const log = existsSync(join(site.folder, "log")) ? readFileSync(join(site.folder, "log"), "utf8") : "";
  throw new Error(`the proxy did not start:\n${child.log}${log}\n${readFileSync(file, "utf8")}`);
}

/** A server behind a proxy. */
async function setUp(name, { variant, host = "noom.test", variables = {}, server } = {}) {
  const proxy = proxies[name];
  const own = mkdtempSync(join(folder, `${name}-`));
  const port = await freePort();
  const url = `https://${host}:${port}`;
  const noom =
    server ?? (await startNoom(join(own, "data"), { NOOM_PUBLIC_URL: url, NOOM_TRUSTED_PROXIES: "1", ...variables }));
  const site = { folder: join(own, "proxy"), host, port, url, server: noom };
  await startProxy(proxy, proxy.variants[variant]?.(proxy.recipe) ?? proxy.recipe, site);
  return site;
}

async function talk(open, site) {
  const [ann, bob] = [await open(site, { from: "127.0.0.2" }), await open(site, { from: "127.0.0.3" })];
  for (const client of [ann, bob]) await client.ask("enter_room", { room: "garden" });
  for (const [author, reader, text] of [
    [ann, bob, "hello"],
    [bob, ann, "안녕"],
  ]) {
    await author.post("garden", text);
    await reader.said(text);
  }
  ann.close();
  bob.close();
}

/** Every variant: a description, and what must hold. */
const checks = {
  async "as documented"(name) {
    const site = await setUp(name, { variables: { NOOM_LIMITS_CONNECTIONS_PER_ADDRESS: "2" } });
    const page = await pageOverHttp2(site);
    check(page[":status"] === 200, `the page over HTTP/2: ${page[":status"]}`);
    const cookie = page["set-cookie"]?.[0] ?? "";
    check(cookie.startsWith("__Host-") && cookie.includes("Secure"), `the cookie is secure: ${cookie}`);
    await talk(overWebSocket, site);
    await talk(overEvents, site);
    await refused(() => overWebSocket(site, { origin: "https://evil.example" }), "403");
    // Limits per address apply to each client, who cannot forge its address.
    const forge = () => ({
      from: "127.0.0.4",
      headers: { "x-forwarded-for": `198.51.100.${(Math.random() * 250) | 0}` },
    });
    const open = [await overWebSocket(site, forge()), await overWebSocket(site, forge())];
    await refused(() => overWebSocket(site, forge()), "429");
    open.push(await overWebSocket(site, { from: "127.0.0.5" }));
    for (const client of open) client.close();
  },

  async "without WebSocket"(name) {
    const site = await setUp(name, { variant: "without WebSocket" });
    await refused(() => overWebSocket(site), "upgrade: 4");
    await talk(overEvents, site);
  },

  async "HTTP/1.1 only"(name) {
    const site = await setUp(name, { variant: "HTTP/1.1 only" });
    const page = await request(site);
    check(page.statusCode === 200 && page.httpVersion === "1.1", `the page: ${page.statusCode}`);
    page.resume();
    await talk(overWebSocket, site);
    await talk(overEvents, site);
  },

  async buffering(name) {
    const site = await setUp(name, { variant: "buffering" });
    await talk(overWebSocket, site);
    await talk(overEvents, site);
  },

  async "idle timeout"(name) {
    // The default heartbeat is longer than the timeout: the proxy ends idle connections, and nothing is lost.
    const site = await setUp(name, { variant: "idle timeout" });
    const idle = await overWebSocket(site);
    const before = await idle.ask("enter_room", { room: "garden" });
    await sleep(13_000);
    check(idle.closed !== undefined, "the proxy ends an idle connection");
    const other = await overWebSocket(site);
    await other.ask("enter_room", { room: "garden" });
    await other.post("garden", "meanwhile");
    const again = await overWebSocket(site);
    const after = { epoch: before.epoch, seq: before.head };
    const resumed = await again.ask("enter_room", { room: "garden", after });
    check(resumed.recovered && resumed.messages[0]?.text === "meanwhile", JSON.stringify(resumed));
  },

  async "idle timeout and short heartbeat"(name) {
    const variables = { NOOM_LIMITS_HEARTBEAT_SECONDS: "4" };
    const site = await setUp(name, { variant: "idle timeout", variables });
    const clients = [await overWebSocket(site), await overEvents(site, { from: "127.0.0.2" })];
    for (const client of clients) await client.ask("enter_room", { room: "garden" });
    await sleep(13_000);
    for (const client of clients) check(client.closed === undefined, "the connection stays open");
    await clients[0].post("garden", "still here");
    await clients[1].said("still here");
    for (const client of clients) client.close();
  },

  async "sub-domains"(name) {
    const [a, b] = [await setUp(name, { host: "a.noom.test" }), await setUp(name, { host: "b.noom.test" })];
    for (const site of [a, b]) await talk(overWebSocket, site);
    await refused(() => overWebSocket(b, { origin: a.url }), "403");
    const headers = { cookie: (await pageOverHttp2(a))["set-cookie"][0].split(";")[0] };
    const page = await request(b, { headers });
    page.resume();
    check(page.headers["set-cookie"], "the cookie of one site does not identify a user at the other");
  },

  async "two proxies"(name) {
    // The outer proxy terminates TLS. The inner one is always HAProxy without TLS.
    const [port, own] = [await freePort(), mkdtempSync(join(folder, "inner-"))];
    const outer = await freePort();
    const url = `https://noom.test:${outer}`;
    const server = await startNoom(join(own, "data"), {
      NOOM_PUBLIC_URL: url,
      NOOM_TRUSTED_PROXIES: "2",
      NOOM_LIMITS_CONNECTIONS_PER_ADDRESS: "1",
    });
    const inner = proxies.haproxy.recipe.replace(/bind :443 .*/, `bind 127.0.0.1:${port}`);
    const behind = { folder: join(own, "inner"), host: "noom.test", port, server };
    const plain = {
      ...proxies.haproxy,
      config: (recipe, site) => `${recipe.replaceAll("127.0.0.1:3000", site.server)}\n`,
    };
    await startProxy(plain, inner, behind);
    const site = { folder: join(own, "outer"), host: "noom.test", port: outer, url, server: `127.0.0.1:${port}` };
    await startProxy(proxies[name], proxies[name].recipe, site);
    const [ann, bob] = [
      await overWebSocket(site, { from: "127.0.0.2" }),
      await overWebSocket(site, { from: "127.0.0.3" }),
    ];
    await refused(() => overWebSocket(site, { from: "127.0.0.2" }), "429");
    const forged = { from: "127.0.0.3", headers: { "x-forwarded-for": "198.51.100.7, 198.51.100.8" } };
    await refused(() => overWebSocket(site, forged), "429");
    ann.close();
    bob.close();
  },
};

async function run() {
  const figures = {};
  const failures = [];
  for (const name of names.length ? names : Object.keys(proxies)) {
    const variants = Object.keys(checks).filter((variant) => {
      const change = variant.replace(" and short heartbeat", "");
      return change in proxies[name].variants || !(change in proxies.nginx.variants);
    });
    const results = await Promise.all(
      variants.map((variant) =>
        checks[variant](name).then(
          () => undefined,
          (error) => `${variant}: ${error.message}`,
        ),
      ),
    );
    failures.push(...results.filter(Boolean).map((failure) => `${name}, ${failure}`));
    figures[`${name}_variants`] = variants.length;
    console.log(
      `${name}: ${results.filter((result) => !result).length} of ${variants.length} variants work: ${variants.join(", ")}`,
    );
  }
  if (failures.length) throw new Error(failures.join("\n"));
  if (process.env.NOOM_TRUST) writeFileSync(join(process.env.NOOM_TRUST, "proxies.json"), JSON.stringify(figures));
}

let code = 0;
try {
  await run();
} catch (error) {
  console.error(error.message);
  code = 1;
} finally {
  for (const child of children) child.kill("SIGKILL");
  await sleep(200);
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);
