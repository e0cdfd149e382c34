// The search in a room.
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, SERVER_GONE, type Server, enter, expect, post, test } from "./support";

const panel = (page: Page) => page.getByRole("region", { name: "Search messages" });
const field = (page: Page) => panel(page).getByRole("searchbox", { name: "Search messages" });
const results = (page: Page) => panel(page).locator(".results a");
const status = (page: Page) => panel(page).getByRole("status");
const opener = (page: Page) => page.getByRole("link", { name: "Search messages" });

/** A room with many messages, of which the second to last is off the screen. */
async function fill(server: Server, count = 200) {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= count; n++)
    await bob.post("garden", n === 7 ? "우리 회의실은 Café 옆에 있어요" : `message ${n}`);
  return bob;
}

for (const width of [1440, 360]) {
  test(`Korean word is found while typing and opened in place: ${width} px`, async ({ page, server }) => {
    await page.setViewportSize({ width, height: 740 });
    await fill(server);
    await enter(page, "garden", "Ann");
    await opener(page).click();
    await expect(field(page)).toBeFocused();
    await page.keyboard.type("회의");
    await expect(results(page)).toHaveCount(1);
    await expect(results(page).locator("mark")).toHaveText("회의");
    await expect(results(page)).toContainText("Bob");
    await expect(status(page)).toHaveText("1 message");
    await expectAccessible(page);

    await results(page).click();
    await expect(page).toHaveURL(/\?at=7(&search=[^#]*)?#m7$/);
    const message = page.locator(".message", { hasText: "우리 회의실은" });
    await expect(message).toBeInViewport();
    await expect(page.getByText("message 5", { exact: true })).toBeInViewport();
    // A sheet that covers the messages is gone; a column stays for the next result.
    if (width < 896) {
      await expect(panel(page)).toHaveCount(0);
    } else {
      await expect(results(page)).toHaveCount(1);
      await expect(field(page)).toHaveValue("회의");
    }
    await post(page, "still here");
  });
}

test("search is used by keyboard alone", async ({ page, server }) => {
  await fill(server, 30);
  await enter(page, "garden", "Ann");
  await page.keyboard.press("Control+Shift+F");
  await expect(field(page)).toBeFocused();
  await page.keyboard.type("MESS");
  await expect(results(page)).toHaveCount(20);
  await expect(status(page)).toHaveText("The newest 20 messages");
  await expect(results(page).first()).toContainText("message 30");
  await page.keyboard.press("ArrowDown");
  await expect(results(page).first()).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await expect(results(page).nth(1)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.locator(".message", { hasText: "message 29" }).locator(".more")).toBeFocused();
  await page.keyboard.press("Control+Shift+F");
  await expect(field(page)).toBeFocused();
  await panel(page).getByRole("button", { name: "Show older results" }).click();
  await expect(results(page)).toHaveCount(29);
  await expect(status(page)).toHaveText("29 messages");
  await field(page).focus();
  await page.keyboard.press("Escape");
  await expect(panel(page)).toHaveCount(0);
  await expect(opener(page)).toBeFocused();
});

test("words typed while the code of the search is fetched are found", async ({ page, server }) => {
  await fill(server, 10);
  await enter(page, "garden", "Ann");
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await page.route(/split_.*\.wasm/, async (route) => {
    await released;
    await route.continue();
  });
  await page.keyboard.press("Control+Shift+F");
  await page.keyboard.type("café");
  await expect(field(page)).toHaveValue("café");
  release();
  await expect(results(page)).toHaveCount(1);
  await expect(field(page)).toBeFocused();
});

test("search waits for the end of a composition, and says that nothing was found", async ({ page, server }) => {
  await fill(server, 10);
  await enter(page, "garden", "Ann");
  await opener(page).click();
  await expect(field(page)).toBeFocused();
  const input = await page.context().newCDPSession(page);
  for (const text of ["ㅎ", "회"]) {
    await input.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
  }
  await expect(field(page)).toHaveValue("회");
  await expect(status(page)).toHaveText(/^Finds messages/);
  await input.send("Input.insertText", { text: "회의실" });
  await expect(results(page)).toHaveCount(1);
  await field(page).fill("회사");
  await expect(status(page)).toHaveText("Nothing was found.");
  await expect(results(page)).toHaveCount(0);
  await field(page).fill("");
  await expect(status(page)).toHaveText(/^Finds messages/);
});

test("search without a connection goes on when it is back", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE);
  await fill(server, 10);
  await enter(page, "garden", "Ann");
  await opener(page).click();
  await expect(field(page)).toBeFocused();
  await server.stop();
  await page.keyboard.type("회의");
  await expect(status(page)).toHaveText(/^You are offline/);
  await server.start();
  await expect(results(page)).toHaveCount(1);
});

for (const width of [1440, 360]) {
  test(`message in another room is found and opened: ${width} px`, async ({ page, server }) => {
    await page.setViewportSize({ width, height: 740 });
    const bob = await ProtocolClient.inRoom(server, "kitchen", "Bob");
    for (let n = 1; n <= 60; n++) await bob.post("kitchen", n === 5 ? "the kettle of Bob" : `message ${n}`);
    await enter(page, "kitchen", "Ann");
    await post(page, "hello");
    await enter(page, "garden");
    await post(page, "no kettle here");
    await opener(page).click();
    await field(page).fill("kettle");
    await expect(results(page)).toHaveText([/no kettle here/]);
    await panel(page).getByRole("checkbox", { name: "In all my rooms" }).check();
    await expect(results(page)).toHaveText([/garden.*no kettle here/, /kitchen.*the kettle of Bob/]);
    await expectAccessible(page);

    await results(page).filter({ hasText: "kitchen" }).click();
    await expect(page).toHaveURL(/\/r\/kitchen\?at=5#m5$/);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("kitchen");
    await expect(page.locator(".message", { hasText: "the kettle of Bob" })).toBeInViewport();
    // A sheet that covers the messages is gone; a column stays for the next result, which is in the other room.
    if (width < 896) {
      await expect(panel(page)).toHaveCount(0);
      return;
    }
    await expect(results(page)).toHaveCount(2);
    await results(page).filter({ hasText: "garden" }).click();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("garden");
    await expect(page.locator(".message", { hasText: "no kettle here" })).toBeInViewport();
    await panel(page).getByRole("checkbox").uncheck();
    await expect(results(page)).toHaveCount(1);
  });
}

test("search of a room ends with its page", async ({ page, server }) => {
  await fill(server, 10);
  await enter(page, "garden", "Ann");
  await opener(page).click();
  await expect(field(page)).toBeFocused();
  await page.keyboard.type("message");
  await expect(results(page)).toHaveCount(9);
  await page.getByRole("link", { name: "All rooms" }).click();
  await enter(page, "kitchen");
  await expect(panel(page)).toHaveCount(0);
});

test("search works without JavaScript, and its results are links", async ({ person, server }) => {
  await fill(server, 120);
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await opener(page).click();
  await field(page).fill("cafe");
  await panel(page).getByRole("button", { name: "Search" }).click();
  await expect(results(page)).toHaveCount(1);
  await expect(results(page).locator("mark")).toHaveText("Café");
  await results(page).click();
  await expect(page.locator("#m7")).toBeInViewport();
  await opener(page).click();
  await field(page).fill("message");
  await page.keyboard.press("Enter");
  await expect(results(page)).toHaveCount(50);
  await panel(page).getByRole("link", { name: "Show older results" }).click();
  await expect(results(page).first()).toContainText("message 70");
  await field(page).fill("!?");
  await page.keyboard.press("Enter");
  await expect(status(page)).toHaveText("Nothing was found.");
});

test("all rooms are searched without JavaScript", async ({ person, server }) => {
  const context = await person({ javaScriptEnabled: false });
  for (const [room, text] of [
    ["kitchen", "a kettle"],
    ["garden", "no kettle here"],
  ]) {
    await context.goto(`/r/${room}`);
    await context.getByRole("textbox", { name: "Message" }).fill(text);
    await context.getByRole("button", { name: "Send" }).click();
    await expect(context.locator(".message", { hasText: text })).toBeVisible();
  }
  const bob = await ProtocolClient.inRoom(server, "attic", "Bob");
  await bob.post("attic", "the kettle of Bob");
  await context.goto("/r/garden?search=kettle");
  await expect(results(context)).toHaveText([/no kettle here/]);
  await panel(context).getByRole("checkbox", { name: "In all my rooms" }).check();
  await panel(context).getByRole("button", { name: "Search" }).click();
  await expect(context).toHaveURL("/r/garden?search=kettle&in=all");
  await expect(results(context)).toHaveText([/garden.*no kettle here/, /kitchen.*a kettle/]);
  await results(context).last().click();
  await expect(context).toHaveURL(/\/r\/kitchen\?at=1#m1$/);
});

test("address of a search opens the panel", async ({ page, server }) => {
  await fill(server, 20);
  await enter(page, "garden", "Ann");
  await page.goto(`/r/garden?search=${encodeURIComponent("회의")}`);
  await expect(field(page)).toHaveValue("회의");
  await expect(panel(page).getByRole("button", { name: "Close search" })).toBeVisible();
  await expect(results(page)).toHaveCount(1);
});
