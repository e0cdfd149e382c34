// What happens to a page when everything else goes wrong.
import type { Page } from "@playwright/test";
import { Cable } from "./cable";
import { SERVER_GONE, Somebody, enter, expect, isIn, say, test, texts } from "./support";

/** The page has a line about its connection, or not. */
const notice = (page: Page) => page.getByRole("status").filter({ hasText: /Trying again|Connecting/ });

/** Stands between a page and the server, frame by frame. */
async function listen(page: Page, up: (frame: any) => boolean = () => true, down: (frame: any) => any = (frame) => frame) {
  await page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      if (up(JSON.parse(text.toString()))) server.send(text);
    });
    server.onMessage((text) => socket.send(JSON.stringify(down(JSON.parse(text.toString())))));
  });
}

const kept = (page: Page) =>
  page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("noom.unsent.")).length);

const hide = (page: Page, hidden: boolean) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);

test("what was not sent outlives a reload, and is sent once and in order", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let swallowed = 0;
  let swallows = true;
  await listen(page, (frame) => !(frame.type === "new_message" && swallows && ++swallowed));
  await enter(page, "garden", "Ann");
  await say(page, "first");
  await say(page, "둘째");
  await expect.poll(() => swallowed).toBe(1);
  expect(await kept(page)).toBe(2);
  await page.reload();
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(2);
  swallows = false;
  await page.reload();
  for (const reader of [page, other]) await expect(texts(reader)).toHaveText(["first", "둘째"]);
  await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
  expect(await kept(page)).toBe(0);
});

test("a message that was stored, and whose answer was lost, is not sent twice after a reload", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let deaf = true;
  const unheard = (frame: any) => (deaf && (frame.payload.key || frame.type === "new_message") ? { type: "unheard", payload: {} } : frame);
  await listen(page, () => true, unheard);
  await enter(page, "garden", "Ann");
  await say(page, "once");
  await expect(texts(other)).toHaveText(["once"]);
  deaf = false;
  await page.reload();
  await isIn(page);
  await expect.poll(() => kept(page)).toBe(0);
  for (const reader of [page, other]) await expect(texts(reader)).toHaveText(["once"]);
});

test("what is left to say is said after one has left the room", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  let swallows = true;
  await listen(page, (frame) => !(frame.type === "new_message" && swallows));
  await enter(page, "garden", "Ann");
  await say(page, "one");
  await say(page, "two");
  await page.getByRole("link", { name: "All rooms" }).click();
  await expect(page.getByRole("heading", { name: "Noom" })).toBeVisible();
  swallows = false;
  // On another page, after a reload.
  await page.reload();
  await expect(texts(other)).toHaveText(["one", "two"]);
  await expect.poll(() => kept(page)).toBe(0);
  await expect(other.getByRole("complementary")).not.toContainText("Ann");
});

test("one sees who writes, until they say it or stop", async ({ page, person, context }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  const composer = page.getByRole("textbox", { name: "Message" });
  const devtools = await context.newCDPSession(page);
  await composer.focus();
  // A syllable that is still being composed is writing, too.
  await devtools.send("Input.imeSetComposition", { text: "한", selectionStart: 1, selectionEnd: 1 });
  await expect(other.getByText(/Ann\S? is writing/)).toBeVisible();
  await devtools.send("Input.insertText", { text: "한" });
  await composer.press("Enter");
  await expect(texts(other)).toHaveText(["한"]);
  await expect(other.getByText("is writing")).toHaveCount(0);
  await composer.pressSequentially("and");
  await expect(other.getByText(/Ann\S? is writing/)).toBeVisible();
  await expect(page.getByText("is writing")).toHaveCount(0);
  await expect(other.getByText("is writing")).toHaveCount(0, { timeout: 10_000 });
});

test("a page from before an upgrade offers to load anew, and does it unseen when nothing is lost by it", async ({ page }) => {
  await listen(page, undefined, (frame) => {
    if (frame.payload.build) frame.payload.build = "0.0.0-another";
    return frame;
  });
  await enter(page, "garden", "Ann");
  await expect(page.getByText("There is a new version of Noom")).toBeVisible();
  const mark = () => page.evaluate(() => ((window as any).marked = true));
  // While the page loads anew there is nothing to look at.
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
  // Still another build: whatever the reason is, it does not reload for ever.
  await isIn(page);
  await expect(page.getByText("There is a new version of Noom")).toBeVisible();
  await mark();
  await hide(page, true);
  await page.waitForTimeout(500);
  expect(await isMarked()).toBe(true);
  await page.getByRole("button", { name: "Reload" }).click();
  await expect.poll(isMarked).toBe(false);
});

test("where too much was missed there is a divider, and what is missing comes when one reads there", async ({ person, server, expectedConsole }) => {
  test.slow();
  expectedConsole.push(SERVER_GONE);
  const cable = await Cable.to(server);
  const page = await person({ baseURL: cable.url });
  const somebody = await Somebody.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 30; n++) await somebody.say("garden", `message ${n}`);
  await enter(page, "garden", "Ann");
  cable.cut();
  await expect(notice(page)).toBeVisible();
  for (let n = 30; n < 1_130; n += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, m) => somebody.say("garden", `message ${n + m + 1}`)));
  }
  cable.mend();
  await expect(page.getByText("Messages are missing here")).toBeAttached({ timeout: 45_000 });
  await expect(page.getByText("message 1130", { exact: true })).toBeInViewport();
  await expect(page.getByText("message 30", { exact: true })).toBeAttached();
  const log = page.getByRole("log");
  await expect(async () => {
    await page.getByText("Messages are missing here").evaluate((gap) => gap.scrollIntoView(), undefined, { timeout: 1_000 }).catch(() => {});
    expect(await texts(page).count()).toBe(1_130);
  }).toPass({ timeout: 60_000 });
  await expect(page.getByText("Messages are missing here")).toHaveCount(0);
  expect(await texts(page).allTextContents()).toEqual(Array.from({ length: 1_130 }, (_, n) => `message ${n + 1}`));
  await expect(log).toBeVisible();
  cable.remove();
});

for (const [seconds, how] of [[1, "cut"], [10, "cut"], [10, "silence"], [60, "silence"]] as const) {
  test(`both write while the line is ${how === "cut" ? "cut" : "silent"} for ${seconds} s, and nothing is lost or doubled`, async ({ person, server, expectedConsole }) => {
    test.setTimeout(180_000);
    expectedConsole.push(SERVER_GONE);
    const cable = await Cable.to(server);
    const page = await person({ baseURL: cable.url });
    const other = await person();
    await enter(page, "garden", "Ann");
    await enter(other, "garden", "Bob");
    await say(page, "before");
    await expect(texts(other)).toHaveText(["before"]);
    cable[how]();
    for (let n = 1; n <= 3; n++) {
      await say(page, `Ann ${n}`);
      await say(other, `Bob ${n}`);
      await page.waitForTimeout((seconds * 1_000) / 3);
    }
    // A line that is silent is noticed by the page itself, within 35 s.
    if (seconds > 40) await expect(notice(page)).toBeVisible();
    cable.mend();
    for (const reader of [page, other]) {
      await expect(texts(reader)).toHaveCount(7, { timeout: 60_000 });
      await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
    }
    const seen = await texts(page).allTextContents();
    expect(await texts(other).allTextContents()).toEqual(seen);
    expect(new Set(seen).size).toBe(7);
    const of = (name: string) => seen.filter((text) => text.startsWith(name));
    expect([of("Ann"), of("Bob")]).toEqual([1, 2, 3].map((n) => [`Ann ${n}`, `Bob ${n}`]).reduce((all, [a, b]) => [[...all[0], a], [...all[1], b]], [[], []] as string[][]));
    cable.remove();
  });
}

test("a laptop that slept while its connection died is back soon after it wakes", async ({ person, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE);
  const cable = await Cable.to(server);
  const page = await person({ baseURL: cable.url });
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  cable.silence();
  await say(other, "said in the night");
  await other.waitForTimeout(2_000);
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  // The old connection is as silent as before; the network is there again.
  cable.mendForNew();
  await expect(texts(page)).toHaveText(["said in the night"], { timeout: 15_000 });
  cable.remove();
});
