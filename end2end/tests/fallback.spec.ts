// Where something between the page and the server lets no WebSocket through.
import { type IncomingMessage, type Server as Http, createServer, request } from "node:http";
import { type Socket, connect } from "node:net";
import type { Page } from "@playwright/test";
import { expectMoving, joinCall, tile } from "./call-support";
import { SERVER_GONE, Server, Somebody, enter, expect, isIn, people, say, takeName, test, texts } from "./support";

/** A proxy as companies have them: it passes HTTP on, and does with upgrades what it likes. */
class Proxy {
  url = "";
  /** What becomes of upgrades. */
  upgrades: "pass" | "refuse" | "hang" | "swallow" = "refuse";
  private sockets = new Set<Socket>();
  private listener: Http;

  private constructor(server: Server) {
    const far = () => Number(new URL(server.url).port);
    // The server sees the address that it listens at.
    const headers = (near: IncomingMessage) => {
      const origin = near.headers.origin ? { origin: server.url } : {};
      return { ...near.headers, host: new URL(server.url).host, ...origin };
    };
    this.listener = createServer((near, answer) => {
      const { method, url: path } = near;
      const onward = request({ port: far(), host: "127.0.0.1", agent: false, method, path, headers: headers(near) }, (back) => {
        answer.writeHead(back.statusCode!, back.headers);
        answer.flushHeaders();
        back.pipe(answer);
        back.on("error", () => answer.destroy());
      });
      onward.on("error", () => answer.destroy());
      answer.on("close", () => onward.destroy());
      near.pipe(onward);
    });
    this.listener.on("connection", (socket) => this.keep(socket));
    this.listener.on("upgrade", (near: IncomingMessage, socket: Socket) => {
      if (this.upgrades === "refuse") return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
      if (this.upgrades === "hang") return;
      const onward = connect(far(), "127.0.0.1", () => {
        const lines = Object.entries(headers(near)).map(([name, value]) => `${name}: ${value}\r\n`);
        onward.write(`GET ${near.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
        onward.pipe(socket);
        if (this.upgrades === "pass") socket.pipe(onward);
      });
      this.keep(onward);
      socket.on("close", () => onward.destroy());
      onward.on("close", () => socket.destroy());
    });
  }

  static async to(server: Server, upgrades: Proxy["upgrades"] = "refuse"): Promise<Proxy> {
    const proxy = new Proxy(server);
    proxy.upgrades = upgrades;
    await new Promise<void>((resolve) => proxy.listener.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${(proxy.listener.address() as { port: number }).port}`;
    return proxy;
  }

  private keep(socket: Socket) {
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
  }

  remove() {
    this.listener.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** The ways that a page's connections took, in order: only such over which a frame came. */
function watchWays(page: Page): string[] {
  const ways: string[] = [];
  page.on("websocket", (socket) => {
    let heard = 0;
    // What a probe hears first is that it should have said hello.
    socket.on("framereceived", (frame) => {
      if (!String(frame.payload).includes("HELLO_FIRST") && heard++ === 0) ways.push("socket");
    });
  });
  page.on("response", (answer) => {
    if (new URL(answer.url()).pathname === "/events" && answer.ok()) ways.push("events");
  });
  return ways;
}

const BLOCKED = /WebSocket connection to .* failed/;

test("where WebSocket is refused, two people talk all the same", async ({ page, person, server, expectedConsole }) => {
  expectedConsole.push(BLOCKED);
  const proxy = await Proxy.to(server);
  const ways = watchWays(page);
  const other = await person();
  await enter(other, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await isIn(page);
  await takeName(page, "Ann");
  await expect(people(other)).toHaveText(["Bob", "Ann"]);
  await say(other, "Hello Ann");
  await say(page, "안녕하세요, Bob");
  await say(page, "How are\nyou?");
  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["Hello Ann", "안녕하세요, Bob", "How are\nyou?"]);
    await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
  }
  expect(ways).toEqual(["events"]);
  await page.close();
  await expect(people(other)).toHaveText(["Bob"]);
  proxy.remove();
});

test("when WebSocket is let through again, the talk moves there without losing a message", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(BLOCKED);
  const proxy = await Proxy.to(server);
  const ways = watchWays(page);
  const bob = await Somebody.inRoom(server, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await isIn(page);
  expect(ways).toEqual(["events"]);
  proxy.upgrades = "pass";
  // Both talk all the while.
  const said: string[] = [];
  while (ways.length < 2 || said.length < 40) {
    const n = said.length;
    if (n % 2) await bob.say("garden", `message ${n}`);
    else await say(page, `message ${n}`);
    said.push(`message ${n}`);
    await expect(texts(page)).toHaveText(said);
    await page.waitForTimeout(200);
  }
  expect(ways).toEqual(["events", "socket"]);
  const stored = bob.frames.filter((frame) => frame.type === "new_message").map((frame) => frame.payload.text);
  expect(stored).toEqual(said);
  bob.close();
  await page.close();
  proxy.remove();
});

for (const upgrades of ["hang", "swallow"] as const) {
  test(`a WebSocket that does not come to anything (${upgrades}) is not waited for forever`, async ({ page, server, expectedConsole }) => {
    expectedConsole.push(BLOCKED);
    const proxy = await Proxy.to(server, upgrades);
    const ways = watchWays(page);
    await page.goto(`${proxy.url}/r/garden`);
    await expect.poll(() => ways, { timeout: 30_000 }).toEqual(["events"]);
    await say(page, "there at last");
    await expect(texts(page)).toHaveText(["there at last"]);
    await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
    // The next page knows, and does not wait.
    let sockets = 0;
    page.on("websocket", () => sockets++);
    await page.reload();
    await isIn(page);
    await expect.poll(() => [ways, sockets]).toEqual([["events", "events"], 0]);
    await page.close();
    proxy.remove();
  });
}

test("a server that restarts is found again the way around", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE, /502|net::ERR_/);
  const proxy = await Proxy.to(server);
  const ways = watchWays(page);
  await page.goto(`${proxy.url}/r/garden`);
  await isIn(page);
  expect(ways).toEqual(["events"]);
  await say(page, "before");
  await expect(texts(page)).toHaveText(["before"]);
  await server.stop("SIGTERM");
  await say(page, "meanwhile");
  await server.start();
  await expect(texts(page)).toHaveText(["before", "meanwhile"]);
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
  expect(ways.filter((way) => way !== "events")).toEqual([]);
  await page.close();
  proxy.remove();
});

test("people are heard and seen in a call that is arranged without a WebSocket", async ({ page, person, server, expectedConsole }) => {
  expectedConsole.push(BLOCKED);
  const proxy = await Proxy.to(server);
  const other = await person();
  await enter(other, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await isIn(page);
  await takeName(page, "Ann");
  await joinCall(other);
  await joinCall(page);
  await expect(tile(page, "Bob")).toBeVisible();
  await expectMoving(page, "Bob");
  await expectMoving(other, "Ann");
  await page.close();
  proxy.remove();
});
