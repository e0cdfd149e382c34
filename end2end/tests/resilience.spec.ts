// Recovery of a page from network faults, reloads and upgrades.
import type { Page } from "@playwright/test";
import { TcpProxy } from "./tcp-proxy";
import {
  SERVER_GONE,
  ProtocolClient,
  enter,
  expect,
  hide,
  memberNames,
  waitUntilJoined,
  post,
  test,
  texts,
  write,
} from "./support";

/** The notice about a lost connection. */
const notice = (page: Page) => page.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ });

/** Intercepts frames between a page and the server: `up` decides which are forwarded, `down` rewrites the others. */
async function intercept(
  page: Page,
  up: (frame: any) => boolean = () => true,
  down: (frame: any) => any = (frame) => frame,
) {
  await page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      if (up(JSON.parse(text.toString()))) server.send(text);
    });
    server.onMessage((text) => socket.send(JSON.stringify(down(JSON.parse(text.toString())))));
  });
}

const storedUnsent = (page: Page) =>
  page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("noom.unsent.")).length);

test("unsent messages survive a reload and are delivered once and in order", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let dropped = 0;
  let dropping = true;
  await intercept(page, (frame) => !(frame.type === "new_message" && dropping && ++dropped));
  await enter(page, "garden", "Ann");
  await write(page, "first");
  await write(page, "둘째");
  await expect.poll(() => dropped).toBe(1);
  expect(await storedUnsent(page)).toBe(2);
  await page.reload();
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(2);
  dropping = false;
  await page.reload();
  for (const reader of [page, other]) await expect(texts(reader)).toHaveText(["first", "둘째"]);
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
  expect(await storedUnsent(page)).toBe(0);
});

test("page of another protocol version reloads once and keeps what was written", async ({
  page,
  server,
  expectedConsole,
}) => {
  expectedConsole.push(SERVER_GONE);
  let [isRefused, greetings] = [false, 0];
  await page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      if (JSON.parse(text.toString()).type !== "hello" || !isRefused) return server.send(text);
      greetings++;
      void socket.close({ code: 4_406 });
    });
  });
  await enter(page, "garden", "Ann");
  await server.stop();
  await write(page, "not sent yet");
  await page.getByRole("textbox", { name: "Message" }).fill("half a sen");
  isRefused = true;
  await server.start();
  // The page that was loaded again is refused, too: now it is up to the user.
  await expect.poll(() => greetings, { timeout: 45_000 }).toBe(2);
  await expect(page.getByText("This page is out of date.")).toBeVisible();
  await expect(page.getByRole("textbox", { name: "Message" })).toHaveValue("half a sen");
  await expect(page.locator(".message.waiting")).toHaveText(/not sent yet/);
  isRefused = false;
  await page.getByRole("button", { name: "Reload" }).click();
  await waitUntilJoined(page);
  await expect(page.locator(".message.waiting")).toHaveCount(0);
  await expect(texts(page)).toHaveText(["not sent yet"]);
  await expect(page.getByRole("textbox", { name: "Message" })).toHaveValue("half a sen");
  expect(greetings).toBe(2);
});

test("message whose ack was lost is not stored twice after a reload", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let losing = true;
  const loseAnswers = (frame: any) =>
    losing && (frame.payload.key || frame.type === "new_message") ? { type: "unknown", payload: {} } : frame;
  await intercept(page, () => true, loseAnswers);
  await enter(page, "garden", "Ann");
  await write(page, "once");
  await expect(texts(other)).toHaveText(["once"]);
  losing = false;
  await page.reload();
  await waitUntilJoined(page);
  await expect.poll(() => storedUnsent(page)).toBe(0);
  for (const reader of [page, other]) await expect(texts(reader)).toHaveText(["once"]);
});

test("unsent messages are delivered after the user left the room", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let dropping = true;
  await intercept(page, (frame) => !(frame.type === "new_message" && dropping));
  await enter(page, "garden", "Ann");
  await write(page, "one");
  await write(page, "two");
  await page.getByRole("link", { name: "All rooms" }).click();
  await expect(page.getByRole("heading", { name: "Noom" })).toBeVisible();
  dropping = false;
  // In the lobby, after a reload.
  await page.reload();
  await expect(texts(other)).toHaveText(["one", "two"]);
  await expect.poll(() => storedUnsent(page)).toBe(0);
  await expect(other.getByRole("complementary")).not.toContainText("Ann");
});

test("typing notification shows until the message is sent or typing stops", async ({ page, person, context }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  const composer = page.getByRole("textbox", { name: "Message" });
  const devtools = await context.newCDPSession(page);
  await composer.focus();
  // Composing a syllable counts as typing.
  await devtools.send("Input.imeSetComposition", { text: "한", selectionStart: 1, selectionEnd: 1 });
  await expect(other.getByText(/Ann\S? is typing/)).toBeVisible();
  await devtools.send("Input.insertText", { text: "한" });
  await composer.press("Enter");
  await expect(texts(other)).toHaveText(["한"]);
  await expect(other.getByText("is typing")).toHaveCount(0);
  await composer.pressSequentially("and");
  await expect(other.getByText(/Ann\S? is typing/)).toBeVisible();
  await expect(page.getByText("is typing")).toHaveCount(0);
  await expect(other.getByText("is typing")).toHaveCount(0, { timeout: 10_000 });
});

test("outdated page offers a reload, and reloads while hidden when no input is lost", async ({ page }) => {
  await intercept(page, undefined, (frame) => {
    if (frame.payload.build) frame.payload.build = "0.0.0-another";
    return frame;
  });
  await enter(page, "garden", "Ann");
  await expect(page.getByText("A new version of Noom is available")).toBeVisible();
  const mark = () => page.evaluate(() => ((window as any).marked = true));
  // Evaluation fails while the page reloads.
  const isMarked = () => page.evaluate(() => (window as any).marked === true).catch(() => true);
  await mark();
  const composer = page.getByRole("textbox", { name: "Message" });
  await composer.fill("not yet sent");
  await hide(page, true);
  await page.waitForTimeout(500);
  expect(await isMarked()).toBe(true);
  await hide(page, false);
  await composer.fill("");
  await hide(page, true);
  await expect.poll(isMarked).toBe(false);
  // The build still differs: one reload per build prevents a reload loop.
  await waitUntilJoined(page);
  await expect(page.getByText("A new version of Noom is available")).toBeVisible();
  await mark();
  await hide(page, true);
  await page.waitForTimeout(500);
  expect(await isMarked()).toBe(true);
  await page.getByRole("button", { name: "Reload" }).click();
  await expect.poll(isMarked).toBe(false);
});

/** A frame as a newer server may send it: each object has another field, each array another element. */
function extended(json: any): any {
  if (Array.isArray(json)) return [...json.map(extended), { z: -1 }];
  if (typeof json !== "object" || json === null) return json;
  return Object.assign(Object.fromEntries(Object.entries(json).map(([name, value]) => [name, extended(value)])), {
    x: { y: [1.5, null] },
  });
}

test("page understands a server that adds fields, frames and codes", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  const sent: string[] = [];
  await page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const frame = JSON.parse(text.toString());
      sent.push(frame.type);
      if (frame.payload.text === "close") return void socket.close({ code: 4_444 });
      if (frame.payload.text !== "refuse") return server.send(text);
      const payload = { code: "MOON_PHASE", message: "Not tonight.", phase: 3 };
      socket.send(JSON.stringify({ type: "error", id: frame.id, payload }));
    });
    server.onMessage((text) => {
      const frame = JSON.parse(text.toString());
      // A kind of entry without a text.
      if (frame.payload.text === "poll") delete frame.payload.text;
      socket.send(JSON.stringify({ type: "aurora", payload: { sky: "green" } }));
      socket.send(JSON.stringify(extended(frame)));
    });
  });
  await enter(page, "garden", "Ann");
  await expect(memberNames(page)).toHaveText(["Bob", "Ann"]);
  await post(page, "Hello Bob");
  await post(other, "poll");
  await post(other, "Hello Ann");
  await expect(texts(page)).toHaveText(["Hello Bob", "Hello Ann"]);
  await expect(page.getByRole("log").getByRole("listitem").nth(-2)).toHaveText(/needs a newer page/);
  expect(sent.filter((type) => type === "enter_room")).toHaveLength(1);
  await post(page, "refuse");
  await expect(page.getByRole("alert")).toContainText("a reason that this page does not know");
  await post(page, "not blocked");
  await expect(texts(other)).toHaveText(["Hello Bob", "poll", "Hello Ann", "not blocked"]);
  await expect(page.getByText("This page is out of date.")).toHaveCount(0);
  await write(page, "close");
  await expect(page.getByText("The server closed the connection.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Reload" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Reconnect" })).toBeVisible();
});

test("page that does not understand the server offers to reload", async ({ page }) => {
  let isStrange = true;
  await intercept(page, undefined, (frame) => {
    if (isStrange && frame.payload.resume) delete frame.payload.user;
    return frame;
  });
  await page.goto("/r/garden");
  await expect(page.getByText("This page is out of date.")).toBeVisible();
  isStrange = false;
  await page.getByRole("button", { name: "Reload" }).click();
  await waitUntilJoined(page);
  await expect(page.getByText("This page is out of date.")).toHaveCount(0);
});

test("page that is offline says so and connects when asked", async ({ person, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE);
  const proxy = await TcpProxy.to(server);
  const page = await person({ baseURL: proxy.url });
  await enter(page, "garden", "Ann");
  proxy.dropTraffic();
  // The notice may be there only for a moment, because the first attempt follows soon.
  await page.evaluate(() => {
    const notice = document.querySelector(".connection")!;
    (window as any).notices = [];
    new MutationObserver(() => (window as any).notices.push(notice.textContent)).observe(notice, {
      childList: true,
      subtree: true,
    });
    window.dispatchEvent(new Event("offline"));
  });
  await expect.poll(() => page.evaluate(() => (window as any).notices.join())).toContain("You seem to be offline");
  await write(page, "written offline");
  // An attempt hangs, which the page would wait for.
  await expect(page.getByText("Connecting…")).toBeVisible();
  proxy.restoreForNew();
  // At once: the button goes away when the page's next attempt connects automatically.
  await page.getByRole("button", { name: "Retry now" }).dispatchEvent("click");
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
  await expect(texts(page)).toHaveText(["written offline"]);
  await expect(page.getByText("You seem to be offline")).toHaveCount(0);
  proxy.remove();
});

test("line with a round trip of five seconds survives a glance at the page", async ({ page }) => {
  let connections = 0;
  await page.routeWebSocket("**/ws", (socket) => {
    connections++;
    const server = socket.connectToServer();
    // Frames keep their order.
    socket.onMessage((text) => void setTimeout(() => server.send(text), 2_500));
    server.onMessage((text) => void setTimeout(() => socket.send(text), 2_500));
  });
  await page.goto("/r/garden");
  await expect(page.getByText("You are here as a guest")).toBeVisible();
  await page.waitForTimeout(11_000);
  for (const name of ["focus", "resume", "offline", "online"]) {
    await page.evaluate((name) => window.dispatchEvent(new Event(name)), name);
    await page.waitForTimeout(5_500);
  }
  await write(page, "still the same connection");
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0, { timeout: 20_000 });
  expect(connections).toBe(1);
});

test("page works when the back button brings it back", async ({ server, browser, contextOptions }) => {
  // Playwright switches the back/forward cache off.
  const own = await browser.browserType().launch({
    ...test.info().project.use.launchOptions,
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
  const page = await (await own.newContext({ ...contextOptions, baseURL: server.url })).newPage();
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden", "Ann");
  await page.evaluate(() => {
    window.addEventListener("pageshow", (event) => ((window as any).persisted = event.persisted));
  });
  await page.goto(`${server.url}/health/live`);
  await bob.post("garden", "said meanwhile");
  await page.goBack();
  const isCached = await page.evaluate(() => (window as any).persisted);
  test.info().annotations.push({ type: "back/forward cache", description: String(isCached) });
  await waitUntilJoined(page);
  await expect(texts(page)).toHaveText(["said meanwhile"]);
  await post(page, "here again");
  await expect(texts(page)).toHaveText(["said meanwhile", "here again"]);
  await expect(memberNames(page)).toHaveText(["Bob", "Ann"]);
  await own.close();
});

test("long gap shows a divider and loads when the reader reaches it", async ({ person, server, expectedConsole }) => {
  test.slow();
  expectedConsole.push(SERVER_GONE);
  const proxy = await TcpProxy.to(server);
  const page = await person({ baseURL: proxy.url });
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 30; n++) await client.post("garden", `message ${n}`);
  await enter(page, "garden", "Ann");
  proxy.disconnect();
  await expect(notice(page)).toBeVisible();
  for (let n = 30; n < 1_130; n += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, m) => client.post("garden", `message ${n + m + 1}`)));
  }
  proxy.restore();
  await expect(page.getByText("Messages are missing here")).toBeAttached({ timeout: 45_000 });
  await expect(page.getByText("message 1130", { exact: true })).toBeInViewport();
  await expect(page.getByText("message 30", { exact: true })).toBeAttached();
  const log = page.getByRole("log");
  await expect(async () => {
    await page
      .getByText("Messages are missing here")
      .evaluate((gap) => gap.scrollIntoView(), undefined, { timeout: 1_000 })
      .catch(() => {});
    expect(await texts(page).count()).toBe(1_130);
  }).toPass({ timeout: 60_000 });
  await expect(page.getByText("Messages are missing here")).toHaveCount(0);
  expect(await texts(page).allTextContents()).toEqual(Array.from({ length: 1_130 }, (_, n) => `message ${n + 1}`));
  await expect(log).toBeVisible();
  proxy.remove();
});

for (const [seconds, fault] of [
  [1, "disconnect"],
  [10, "disconnect"],
  [10, "dropTraffic"],
  [60, "dropTraffic"],
] as const) {
  const network = fault === "disconnect" ? "closed" : "silent";
  test(`messages are neither lost nor duplicated after ${seconds} s of ${network} connections`, async ({
    person,
    server,
    expectedConsole,
  }) => {
    test.setTimeout(180_000);
    expectedConsole.push(SERVER_GONE);
    const proxy = await TcpProxy.to(server);
    const page = await person({ baseURL: proxy.url });
    const other = await person();
    await enter(page, "garden", "Ann");
    await enter(other, "garden", "Bob");
    await write(page, "before");
    await expect(texts(other)).toHaveText(["before"]);
    proxy[fault]();
    for (let n = 1; n <= 3; n++) {
      await write(page, `Ann ${n}`);
      await write(other, `Bob ${n}`);
      await page.waitForTimeout((seconds * 1_000) / 3);
    }
    // The page detects a silent connection within 35 s.
    if (seconds > 40) await expect(notice(page)).toBeVisible();
    proxy.restore();
    for (const reader of [page, other]) {
      await expect(texts(reader)).toHaveCount(7, { timeout: 60_000 });
      await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
    }
    const seen = await texts(page).allTextContents();
    expect(await texts(other).allTextContents()).toEqual(seen);
    expect(new Set(seen).size).toBe(7);
    const of = (name: string) => seen.filter((text) => text.startsWith(name));
    expect([of("Ann"), of("Bob")]).toEqual(
      [1, 2, 3]
        .map((n) => [`Ann ${n}`, `Bob ${n}`])
        .reduce(
          (all, [a, b]) => [
            [...all[0], a],
            [...all[1], b],
          ],
          [[], []] as string[][],
        ),
    );
    proxy.remove();
  });
}

test("page reconnects soon after the computer wakes from sleep", async ({ person, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE);
  const proxy = await TcpProxy.to(server);
  const page = await person({ baseURL: proxy.url });
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  proxy.dropTraffic();
  await post(other, "sent during sleep");
  await other.waitForTimeout(2_000);
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  // The network is back, but the old connection stays silent.
  proxy.restoreForNew();
  await expect(texts(page)).toHaveText(["sent during sleep"], { timeout: 15_000 });
  proxy.remove();
});
