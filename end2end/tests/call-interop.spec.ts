// Calls with software outside the project: another WebRTC stack, and a TURN server.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createSocket } from "node:dgram";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expectMoving, expectPictureAndSound, joinCall, meetInCall, received, tile, watchCalls } from "./call-support";
import { Server, ProtocolClient, enter, expect, test } from "./support";

const python = process.env.NOOM_PEER_PYTHON ?? "python3";

test("peer written with aiortc from PROTOCOL.md joins a call", async ({ page, server }) => {
  await watchCalls(page.context());
  await enter(page, "garden", "Ann");
  await joinCall(page);
  const peer = spawn(python, [join(import.meta.dirname, "../peer/peer.py"), server.url, "garden", "Ai"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let report: any = {};
  createInterface({ input: peer.stdout! }).on("line", (line) => (report = JSON.parse(line)));
  try {
    // The peer sends.
    await expectMoving(page, "Ai");
    await expectPictureAndSound(page);
    await expect(tile(page, "Ai").getByLabel("Hand raised")).toBeVisible();
    // It receives video, the beeps of the fake microphone, and the speaking notification.
    await expect.poll(() => report.video, { timeout: 30_000 }).toBeGreaterThan(10);
    await expect.poll(() => report.loudest, { timeout: 30_000 }).toBeGreaterThan(500);
    await expect.poll(() => report.messages, { timeout: 30_000 }).toContain("speaking");
    // Renegotiation works.
    const before = report.video;
    await page.getByRole("button", { name: "Share screen" }).click();
    await expect.poll(() => report.video, { timeout: 30_000 }).toBeGreaterThan(before + 10);
  } finally {
    peer.stdin!.end();
  }
  await expect(tile(page, "Ai")).toHaveCount(0);
});

/** Starts a TURN server on loopback. */
async function startTurn(secret: string): Promise<{ port: number; stop: () => void }> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "noom-turn-"));
  const options = [
    "-n",
    "--use-auth-secret",
    `--static-auth-secret=${secret}`,
    "--realm=noom.example",
    "--listening-ip=127.0.0.1",
    "--relay-ip=127.0.0.1",
    `--listening-port=${port}`,
    "--allow-loopback-peers",
    "--no-tls",
    "--no-dtls",
    "--no-cli",
    "--log-file=stdout",
    `--pidfile=${join(folder, "pid")}`,
    `--userdb=${join(folder, "db")}`,
  ];
  const child: ChildProcess = spawn("turnserver", options, { stdio: "ignore" });
  const ended = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`turnserver ended with ${code}`)));
  });
  await Promise.race([answers(port), ended]);
  ended.catch(() => {});
  return {
    port,
    stop: () => {
      child.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Sends STUN binding requests (RFC 8489) until the server answers. */
async function answers(port: number) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = createSocket("udp4");
  let answered = false;
  socket.on("message", () => (answered = true));
  while (!answered) {
    socket.send(request, port, "127.0.0.1");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  socket.close();
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

test("call uses the relay when direct paths are blocked, and expired credentials are refused", async ({ person }) => {
  const turn = await startTurn("north");
  const url = `turn:127.0.0.1:${turn.port}?transport=udp`;
  const server = new Server({ NOOM_ICE_TURN: url, NOOM_ICE_TURN_SECRET: "north" });
  const brief = new Server({ NOOM_ICE_TURN: url, NOOM_ICE_TURN_SECRET: "north", NOOM_ICE_TURN_TTL_SECONDS: "1" });
  try {
    await server.start();
    const [page, other] = [await person({ baseURL: server.url }), await person({ baseURL: server.url })];
    for (const each of [page, other]) await watchCalls(each.context(), { iceTransportPolicy: "relay" });
    await meetInCall(page, other);
    await expectMoving(page, "Bob");
    await expectPictureAndSound(other);
    expect((await received(page)).relayed).toBe(true);
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("button", { name: "Show connection details" }).click();
    await expect(tile(page, "Bob").locator("dd", { hasText: "relayed" })).toBeVisible();

    await brief.start();
    const client = await ProtocolClient.inRoom(brief, "garden", "Cleo");
    const { ice_servers } = await client.request("join_call", { room: client.id("garden") });
    const gather = () =>
      page.evaluate(async (iceServers) => {
        const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
        const found = { candidates: 0, errors: [] as number[] };
        connection.onicecandidateerror = (event) => found.errors.push(event.errorCode);
        connection.createDataChannel("x");
        const done = new Promise<void>((resolve) => {
          connection.onicecandidate = ({ candidate }) => (candidate?.candidate ? void found.candidates++ : resolve());
        });
        await connection.setLocalDescription();
        await done;
        connection.close();
        return found;
      }, ice_servers);
    await page.waitForTimeout(2_500);
    const found = await gather();
    expect(found.candidates).toBe(0);
    expect(found.errors).toContain(401);
    client.close();
  } finally {
    await server.remove();
    await brief.remove();
    turn.stop();
  }
});

test("credentials are renewed before they expire", async ({ person }) => {
  const server = new Server({
    NOOM_ICE_TURN: "turn:127.0.0.1:9?transport=udp",
    NOOM_ICE_TURN_SECRET: "north",
    NOOM_ICE_TURN_TTL_SECONDS: "10",
  });
  await server.start();
  try {
    const [page, other] = [await person({ baseURL: server.url }), await person({ baseURL: server.url })];
    await watchCalls(page.context());
    await meetInCall(page, other);
    await expectMoving(page, "Bob");
    const username = () =>
      page.evaluate(() => (window as any).peers.at(-1).getConfiguration().iceServers[0].username as string);
    const before = await username();
    await expect.poll(username, { timeout: 9_000 }).not.toBe(before);
    await expectMoving(page, "Bob");
  } finally {
    await server.remove();
  }
});
