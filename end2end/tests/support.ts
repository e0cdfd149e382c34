// A server process for each test, and pages whose console must stay empty.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type BrowserContext, type Page, test as base, expect } from "@playwright/test";
import WebSocket from "ws";

const root = join(import.meta.dirname, "../..");

/** A server process with its own data folder. */
export class Server {
  readonly data = mkdtempSync(join(tmpdir(), "noom-"));
  url = "";
  private child?: ChildProcess;

  constructor(
    private variables: Record<string, string> = {},
    private host = "127.0.0.1",
  ) {}

  async start() {
    const port = this.url ? new URL(this.url).port : "0";
    const limits = {
      NOOM_LIMITS_MESSAGES_PER_SECOND: "100000",
      NOOM_LIMITS_MESSAGE_BURST: "100000",
      NOOM_LIMITS_SIGNALS_PER_SECOND: "100000",
      NOOM_LIMITS_ANNOUNCEMENTS_PER_SECOND: "1000",
      NOOM_LIMITS_ANNOUNCEMENT_BURST: "10000",
      NOOM_LIMITS_READS_PER_SECOND: "1000",
      NOOM_LIMITS_REQUESTS_PER_SECOND: "10000",
      NOOM_LIMITS_GUESTS_PER_MINUTE: "10000",
    };
    const child = spawn(
      join(root, "target/release/noom"),
      ["--listen", `${this.host}:${port}`, "--data-dir", this.data],
      {
        // Outside the project, because the program must find its files without help.
        cwd: tmpdir(),
        env: { ...process.env, ...limits, ...this.variables, RUST_LOG: "warn" },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    this.child = child;
    for await (const line of createInterface({ input: child.stdout! })) {
      this.url = line.replace("Noom is at ", "");
      return;
    }
    throw new Error("the server did not start");
  }

  /** Kills the process, or stops it gracefully with SIGTERM. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGKILL") {
    const child = this.child;
    this.child = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async remove() {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** A WebSocket client without a page, as PROTOCOL.md describes it. */
export class ProtocolClient {
  private nextId = 1;
  private waiting = new Map<number, (frame: any) => void>();
  /** The ids of the rooms that it has entered, by name. */
  private rooms = new Map<string, string>();
  readonly frames: any[] = [];

  private constructor(private socket: WebSocket) {
    socket.on("close", (code) => {
      for (const answer of this.waiting.values()) answer({ type: "closed", code });
    });
    socket.on("message", (data) => {
      const frame = JSON.parse(data.toString());
      this.frames.push(frame);
      this.waiting.get(frame.id)?.(frame);
      this.waiting.delete(frame.id);
    });
  }

  static async inRoom(server: Server, room: string, nickname: string) {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/ws`, { headers: { origin: server.url } });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const client = new ProtocolClient(socket);
    await client.request("hello", { protocol: 2 });
    await client.request("nickname", { nickname });
    await client.enter(room);
    return client;
  }

  async enter(name: string) {
    const entered = await this.request("enter_room", { name });
    this.rooms.set(name, entered.room);
    return entered;
  }

  /** The id of a room that it has entered. */
  id(room: string): string {
    return this.rooms.get(room)!;
  }

  request(type: string, payload: object): Promise<any> {
    const id = this.nextId++;
    const answer = new Promise<any>((resolve, reject) => {
      this.waiting.set(id, (frame) =>
        frame.type === "ack" ? resolve(frame.payload) : reject(new Error(JSON.stringify(frame))),
      );
    });
    this.socket.send(JSON.stringify({ type, payload, id }));
    return answer;
  }

  post(room: string, text: string) {
    return this.request("new_message", { room: this.id(room), key: randomUUID(), text });
  }

  close() {
    this.socket.close();
  }
}

/**
 * Console messages of the browser about a lost connection. A page cannot prevent them. The error depends on the
 * stage at which the connection broke.
 */
export const SERVER_GONE =
  /WebSocket connection to .* failed|net::ERR_(CONNECTION_\w+|SOCKET_NOT_CONNECTED|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)/;

type Fixtures = {
  server: Server;
  /** Console messages that the test expects. */
  expectedConsole: RegExp[];
  /** Opens a page in its own browser context: another user. */
  person: (options?: Parameters<import("@playwright/test").Browser["newContext"]>[0]) => Promise<Page>;
};

export const test = base.extend<Fixtures>({
  server: async ({}, use) => {
    const server = new Server();
    await server.start();
    await use(server);
    await server.remove();
  },
  expectedConsole: async ({}, use) => {
    await use([]);
  },
  baseURL: async ({ server }, use) => {
    await use(server.url);
  },
  context: async ({ context, expectedConsole }, use) => {
    const messages = listen(context);
    await use(context);
    expectQuiet(messages, expectedConsole);
  },
  person: async ({ browser, server, contextOptions, expectedConsole }, use) => {
    const contexts: BrowserContext[] = [];
    const messages: string[][] = [];
    await use(async (options = {}) => {
      const context = await browser.newContext({ ...contextOptions, baseURL: server.url, ...options });
      contexts.push(context);
      messages.push(listen(context));
      return context.newPage();
    });
    messages.forEach((messages) => expectQuiet(messages, expectedConsole));
    await Promise.all(contexts.map((context) => context.close()));
  },
});

function listen(context: BrowserContext): string[] {
  const messages: string[] = [];
  context.on("console", (message) => messages.push(`${message.type()}: ${message.text()} ${message.location().url}`));
  context.on("weberror", (error) => messages.push(`uncaught: ${error.error().stack}`));
  return messages;
}

function expectQuiet(messages: string[], expected: RegExp[]) {
  expect(messages.filter((message) => !expected.some((pattern) => pattern.test(message)))).toEqual([]);
}

/** Opens a room and waits until the page has entered it. */
export async function enter(page: Page, room: string, nickname?: string) {
  await page.goto(`/r/${encodeURIComponent(room)}`);
  await waitUntilJoined(page);
  if (nickname) await takeName(page, nickname);
}

/**
 * Waits until the page is connected, and the member list contains the user. The list alone does not tell: the server
 * renders it, and another page of the user may be in the room.
 */
export async function waitUntilJoined(page: Page) {
  await expect(page.locator(".connection[data-online]")).toBeAttached();
  const self = page.locator(".members li", { has: page.locator(".you") });
  const count = page.locator("summary").filter({ hasText: /[1-9]/ });
  await expect(self.or(count).filter({ visible: true }).first()).toBeVisible();
}

/** The names in the member list beside the log, in order. */
export function memberNames(page: Page) {
  return page.getByRole("complementary").locator(".members bdi");
}

export async function takeName(page: Page, nickname: string) {
  await page.getByLabel("Your name").fill(nickname);
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel("Your name")).toBeHidden();
}

/** Sends a message, and waits until the server has stored or refused it. A page shows it earlier than that. */
export async function post(page: Page, text: string) {
  await write(page, text);
  await expect(page.getByRole("textbox", { name: "Message" })).toHaveValue("");
  await expect(page.locator(".message.waiting:not(:has(.failed))")).toHaveCount(0);
}

/** Sends a message that the page has to keep for now, or refuses. */
export async function write(page: Page, text: string) {
  const composer = page.getByRole("textbox", { name: "Message" });
  await composer.fill(text);
  await composer.press("Enter");
}

/** The message texts in the room, in order. */
export function texts(page: Page) {
  return page.getByRole("log").locator(".message .text");
}

/** Makes the page believe that its tab is hidden, or shown again. */
export function hide(page: Page, hidden: boolean) {
  return page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);
}

export { expect };
