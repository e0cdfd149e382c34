// The user's own rooms: unread messages, moving between rooms, and what stays when the user comes back.
import type { Locator, Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { joinCall } from "./call-support";
import { ProtocolClient, enter, expect, hide, post, test, texts } from "./support";

const list = (page: Page) => page.getByRole("navigation", { name: "Your rooms" });
const link = (page: Page, room: string) => list(page).getByRole("link", { name: room });
const badge = (page: Page, room: string) => link(page, room).locator(".badge");
const field = (page: Page) => page.getByRole("textbox", { name: "Message" });

test.use({ viewport: { width: 1440, height: 900 } });

test("rooms count what others write, and show it when they are opened", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden", "Ann");
  await expect(list(page).getByText("Rooms in which you write appear here.")).toBeVisible();
  await post(page, "mine");
  await expect(link(page, "garden")).toHaveAttribute("aria-current", "page");
  await enter(page, "kitchen");
  await post(page, "other");
  await expect(link(page, "kitchen")).toBeVisible();

  for (const text of ["one", "two", "three"]) await bob.post("garden", text);
  await expect(badge(page, "garden")).toHaveText("3");
  await expect(page).toHaveTitle("(3) kitchen · Noom");
  await expectAccessible(page);

  // Without loading the page again: a mark on the window stays.
  await page.evaluate(() => Object.assign(window, { stays: true }));
  await field(page).fill("a draft");
  await link(page, "garden").click();
  await expect(texts(page)).toHaveText(["mine", "one", "two", "three"]);
  await expect(page.locator(".message", { has: page.getByRole("separator") })).toContainText("one");
  await expect(badge(page, "garden")).toHaveCount(0);
  await expect(page).toHaveTitle("garden · Noom");
  // All of them are in view.
  await page.waitForTimeout(300);
  await expect(page.getByRole("link", { name: /new messages/ })).toHaveCount(0);
  await link(page, "kitchen").click();
  await expect(field(page)).toHaveValue("a draft");
  await expect(badge(page, "garden")).toHaveCount(0);
  expect(await page.evaluate(() => "stays" in window)).toBe(true);

  // The first page lists the rooms, and so does another one of this user.
  await bob.post("garden", "four");
  await page.goto(server.url);
  await expect(page.getByRole("link", { name: "garden 1 unread" })).toBeVisible();
  await expect(page).toHaveTitle("(1) Noom");
  await expectAccessible(page);
  bob.close();
});

test("what is read on one device is read on the other", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  const second = await page.context().newPage();
  await second.goto(server.url);
  await bob.post("garden", "one");
  // The first page shows the newest message, so it marks it as read.
  await page.bringToFront();
  await expect(texts(page)).toHaveText(["mine", "one"]);
  const unread = second.getByRole("link", { name: /garden \d unread/ });
  await expect(unread).toHaveCount(0);
  await expect(second.getByRole("region", { name: "Your rooms" }).getByRole("link", { name: "garden" })).toBeVisible();
  bob.close();
});

test("keys move between rooms", async ({ page }) => {
  for (const room of ["a", "b", "c"]) {
    await enter(page, room, room === "a" ? "Ann" : undefined);
    await post(page, `in ${room}`);
    await expect(texts(page)).toHaveText([`in ${room}`]);
  }
  await expect(list(page).getByRole("listitem")).toHaveText(["a", "b", "c"]);
  await page.keyboard.press("Alt+ArrowDown");
  await expect(texts(page)).toHaveText(["in a"]);
  await page.keyboard.press("Alt+ArrowUp");
  await expect(texts(page)).toHaveText(["in c"]);
  await expect(field(page)).toBeFocused();

  await page.keyboard.press("Control+k");
  const dialog = page.getByRole("dialog", { name: "Go to a room" });
  await expect(dialog.getByRole("option")).toHaveText(["a", "b", "c"]);
  await expectAccessible(page);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(texts(page)).toHaveText(["in b"]);
  await expect(dialog).toHaveCount(0);
  await page.keyboard.press("Control+k");
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(field(page)).toBeFocused();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("새 방");
  await expect(dialog.getByRole("option")).toHaveText(["Enter새 방"]);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("새 방");
});

test("keys pressed right after Ctrl+K go to the switcher", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await field(page).focus();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("kitchen");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("kitchen");
  await page.goBack();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("garden");
  await expect(texts(page)).toHaveCount(0);
  await expect(field(page)).toHaveValue("");
});

test("conversation has its place beside the list, the search and a call", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  const main = page.getByRole("main");
  const isBeside = async (left: Locator, right: Locator) => {
    const [a, b] = [await left.boundingBox(), await right.boundingBox()];
    return !!a && !!b && a.y === b.y && a.height === b.height && a.x + a.width <= b.x;
  };
  const search = page.getByRole("region", { name: "Search messages" });
  await page.keyboard.press("Control+Shift+F");
  await expect.poll(() => isBeside(list(page), main)).toBe(true);
  await expect.poll(() => isBeside(main, search)).toBe(true);
  await page.keyboard.press("Escape");
  await joinCall(page);
  await expect.poll(() => isBeside(page.locator(".call"), main)).toBe(true);
  await expect(list(page)).toBeHidden();
  await page.getByRole("button", { name: "Your rooms" }).click();
  await expect(link(page, "garden")).toBeVisible();
});

test("a room is left where it was read, and opened there again", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let number = 1; number <= 120; number++) await bob.post("garden", `message ${number}`);
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  await enter(page, "kitchen");
  await post(page, "other");
  await link(page, "garden").click();
  await expect(texts(page).last()).toHaveText("mine");
  const target = page.getByText("message 90", { exact: true });
  await target.scrollIntoViewIfNeeded();
  await expect(target).toBeInViewport();
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
  await link(page, "kitchen").click();
  await expect(texts(page)).toHaveText(["other"]);
  await link(page, "garden").click();
  await expect(target).toBeInViewport();
  await expect(page.getByText("mine", { exact: true })).not.toBeInViewport();
  bob.close();
});

test("many unread messages: a link leads to the first one", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  await enter(page, "kitchen");
  await post(page, "other");
  for (let number = 1; number <= 130; number++) await bob.post("garden", `message ${number}`);
  await expect(badge(page, "garden")).toHaveText("99+");
  await link(page, "garden").click();
  await page.getByRole("link", { name: "130 new messages: show the first" }).click();
  await expect(page.getByText("message 1", { exact: true })).toBeInViewport();
  await expect(page.locator(".message", { has: page.getByRole("separator") })).toContainText("message 1");
  bob.close();
});

test("a room is kept without a message, and removed again", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await list(page).getByRole("button", { name: "Keep this room" }).click();
  await expect(link(page, "garden")).toBeVisible();
  await list(page).getByRole("button", { name: "Remove this room" }).click();
  await expect(link(page, "garden")).toHaveCount(0);
});

test("a line is drawn above what has come while the page was in the background", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden", "Ann");
  await bob.post("garden", "seen");
  await expect(texts(page)).toHaveText(["seen"]);
  await hide(page, true);
  await bob.post("garden", "one");
  await bob.post("garden", "two");
  await expect(page).toHaveTitle("(2) garden · Noom");
  await hide(page, false);
  await expect(page.locator(".message", { has: page.getByRole("separator") })).toContainText("one");
  await post(page, "answer");
  await expect(page.getByRole("separator")).toHaveCount(0);
  bob.close();
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 360, height: 740 } });

  test("the list is behind a button with the number of unread messages", async ({ page, server }) => {
    const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
    await enter(page, "garden", "Ann");
    await post(page, "mine");
    await enter(page, "kitchen");
    await bob.post("garden", "one");
    const button = page.getByRole("button", { name: "Your rooms" });
    await expect(button.locator(".badge")).toHaveText("1");
    await expect(list(page)).toBeHidden();
    await button.click();
    await expect(badge(page, "garden")).toHaveText("1");
    await expectAccessible(page);
    await link(page, "garden").click();
    await expect(texts(page)).toHaveText(["mine", "one"]);
    await expect(list(page)).toBeHidden();
    await expect(button.locator(".badge")).toHaveCount(0);
    bob.close();
  });

  test.describe("without script", () => {
    test.use({ javaScriptEnabled: false });

    test("the list opens and leads to another room", async ({ page, server }) => {
      for (const room of ["garden", "kitchen"]) {
        await page.goto(`${server.url}/r/${room}`);
        await field(page).fill(`in ${room}`);
        await page.getByRole("button", { name: "Send" }).click();
        await expect(texts(page)).toHaveText([`in ${room}`]);
      }
      await page.getByRole("button", { name: "Your rooms" }).click();
      await link(page, "garden").click();
      await expect(texts(page)).toHaveText(["in garden"]);
    });
  });
});

test("notification tells of a message in a room whose switch is on, until it is read", async ({
  page,
  person,
  server,
  context,
}) => {
  await context.grantPermissions(["notifications"]);
  const shown = () =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      return (await registration.getNotifications()).map(({ title, body }) => `${title}: ${body}`).sort();
    });
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  const carol = await ProtocolClient.inRoom(server, "kitchen", "Carol");
  await enter(page, "garden", "Ann");
  await post(page, "hello");
  await page.getByRole("button", { name: "Turn on notifications" }).click();
  await expect(page.getByRole("button", { name: "Turn off notifications" })).toBeVisible();
  await enter(page, "kitchen");
  await post(page, "hello");
  await expect(texts(page)).toHaveText(["hello"]);
  await page.getByRole("button", { name: "Turn on notifications" }).click();
  await expect(page.getByRole("button", { name: "Turn off notifications" })).toBeVisible();

  await hide(page, true);
  await bob.post("garden", "from Bob");
  await carol.post("kitchen", "from Carol");
  await expect.poll(shown).toEqual(["garden: 1 unread", "kitchen: Carol: from Carol"]);
  // It is read by looking at it.
  await hide(page, false);
  await expect.poll(shown).toEqual(["garden: 1 unread"]);

  await page.getByRole("button", { name: "Turn off notifications" }).click();
  await hide(page, true);
  await carol.post("kitchen", "unnoticed");
  await bob.post("garden", "again");
  await expect.poll(shown).toEqual(["garden: 2 unread"]);
  // Another tab shows the room to the user: there is nothing to tell.
  await hide(page, false);
  const second = await context.newPage();
  await enter(second, "garden");
  await expect.poll(shown).toEqual([]);
  await hide(page, true);
  await bob.post("garden", "seen in the second tab");
  await expect(texts(second).last()).toHaveText("seen in the second tab");
  await bob.post("garden", "and this, too");
  await expect(texts(second).last()).toHaveText("and this, too");
  expect(await shown()).toEqual([]);
  await second.close();
  await page.reload();
  await expect(page.getByRole("button", { name: "Turn on notifications" })).toBeVisible();
  // Where the browser does not allow it, the page says so.
  const other = await person();
  await enter(other, "garden", "Dan");
  await other.getByRole("button", { name: "Turn on notifications" }).click();
  await expect(other.getByText("Your browser blocks notifications of this site.")).toBeVisible();
  bob.close();
  carol.close();
});
