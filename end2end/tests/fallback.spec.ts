// Server-sent events as a fallback where a proxy blocks WebSocket.
import type { Page } from "@playwright/test";
import { expectMoving, joinCall, tile } from "./call-support";
import { HttpProxy } from "./http-proxy";
import {
  SERVER_GONE,
  ProtocolClient,
  enter,
  expect,
  waitUntilJoined,
  memberNames,
  post,
  takeName,
  test,
  texts,
  write,
} from "./support";

/** Records the transports of a page's connections, in order, once a frame was received over them. */
function watchTransports(page: Page): string[] {
  const transports: string[] = [];
  page.on("websocket", (socket) => {
    let received = 0;
    // A probe only receives the refusal HELLO_FIRST.
    socket.on("framereceived", (frame) => {
      if (!String(frame.payload).includes("HELLO_FIRST") && received++ === 0) transports.push("socket");
    });
  });
  page.on("response", (answer) => {
    if (new URL(answer.url()).pathname === "/events" && answer.ok()) transports.push("events");
  });
  return transports;
}

const BLOCKED = /WebSocket connection to .* failed/;

test("messages are exchanged over server-sent events while WebSocket is blocked", async ({
  page,
  person,
  server,
  expectedConsole,
}) => {
  expectedConsole.push(BLOCKED);
  const proxy = await HttpProxy.to(server);
  const transports = watchTransports(page);
  const other = await person();
  await enter(other, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await waitUntilJoined(page);
  await takeName(page, "Ann");
  await expect(memberNames(other)).toHaveText(["Bob", "Ann"]);
  await post(other, "Hello Ann");
  await post(page, "안녕하세요, Bob");
  await post(page, "How are\nyou?");
  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["Hello Ann", "안녕하세요, Bob", "How are\nyou?"]);
    await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
  }
  expect(transports).toEqual(["events"]);
  await page.close();
  await expect(memberNames(other)).toHaveText(["Bob"]);
  proxy.remove();
});

test("page returns to WebSocket without losing a message when it is unblocked", async ({
  page,
  server,
  expectedConsole,
}) => {
  expectedConsole.push(BLOCKED);
  const proxy = await HttpProxy.to(server);
  const transports = watchTransports(page);
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await waitUntilJoined(page);
  expect(transports).toEqual(["events"]);
  proxy.upgrades = "pass";
  // Both post while the page switches.
  const posted: string[] = [];
  while (transports.length < 2 || posted.length < 40) {
    const n = posted.length;
    if (n % 2) await bob.post("garden", `message ${n}`);
    else await post(page, `message ${n}`);
    posted.push(`message ${n}`);
    await expect(texts(page)).toHaveText(posted);
    await page.waitForTimeout(200);
  }
  expect(transports).toEqual(["events", "socket"]);
  const stored = bob.frames.filter((frame) => frame.type === "new_message").map((frame) => frame.payload.text);
  expect(stored).toEqual(posted);
  bob.close();
  await page.close();
  proxy.remove();
});

for (const upgrades of ["hang", "swallow"] as const) {
  test(`page falls back when the WebSocket gets no answer (${upgrades})`, async ({ page, server, expectedConsole }) => {
    expectedConsole.push(BLOCKED);
    const proxy = await HttpProxy.to(server, upgrades);
    const transports = watchTransports(page);
    await page.goto(`${proxy.url}/r/garden`);
    await expect.poll(() => transports, { timeout: 30_000 }).toEqual(["events"]);
    await post(page, "delivered by fallback");
    await expect(texts(page)).toHaveText(["delivered by fallback"]);
    await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
    // The next page remembers, and opens no WebSocket.
    let sockets = 0;
    page.on("websocket", () => sockets++);
    await page.reload();
    await waitUntilJoined(page);
    await expect.poll(() => [transports, sockets]).toEqual([["events", "events"], 0]);
    await page.close();
    proxy.remove();
  });
}

test("page reconnects over server-sent events after a server restart", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE, /502|net::ERR_/);
  const proxy = await HttpProxy.to(server);
  const transports = watchTransports(page);
  await page.goto(`${proxy.url}/r/garden`);
  await waitUntilJoined(page);
  expect(transports).toEqual(["events"]);
  await post(page, "before");
  await expect(texts(page)).toHaveText(["before"]);
  await server.stop("SIGTERM");
  await write(page, "meanwhile");
  await server.start();
  await expect(texts(page)).toHaveText(["before", "meanwhile"]);
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
  expect(transports.filter((transport) => transport !== "events")).toEqual([]);
  await page.close();
  proxy.remove();
});

test("call works with signaling over server-sent events", async ({ page, person, server, expectedConsole }) => {
  expectedConsole.push(BLOCKED);
  const proxy = await HttpProxy.to(server);
  const other = await person();
  await enter(other, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await waitUntilJoined(page);
  await takeName(page, "Ann");
  await joinCall(other);
  await joinCall(page);
  await expect(tile(page, "Bob")).toBeVisible();
  await expectMoving(page, "Bob");
  await expectMoving(other, "Ann");
  await page.close();
  proxy.remove();
});

test("page says that the name is forgotten where cookies are blocked", async ({ person, server }) => {
  const proxy = await HttpProxy.to(server, "pass");
  const notice = /could not store a cookie/;
  for (const javaScriptEnabled of [true, false]) {
    proxy.blocksCookies = true;
    const page = await person({ javaScriptEnabled });
    await page.goto(proxy.url);
    if (!javaScriptEnabled) {
      await expect(page.getByText(notice)).toBeHidden();
      await page.getByLabel("Your name").fill("Ann");
      await page.getByRole("button", { name: "Save" }).click();
    }
    await expect(page.getByText(notice)).toBeVisible();
    proxy.blocksCookies = false;
    await page.goto(`${proxy.url}/r/garden`);
    await expect(page.getByRole("textbox", { name: "Message" })).toBeVisible();
    if (javaScriptEnabled) await waitUntilJoined(page);
    await expect(page.getByText(notice)).toBeHidden();
  }
  proxy.remove();
});
