// Edits, deletions, replies and reactions.
import type { Locator, Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, SERVER_GONE, enter, expect, post, test, texts, waitUntilJoined } from "./support";

const row = (page: Page, text: string) => page.locator(".message:not(.waiting)", { hasText: text });
const field = (page: Page) => page.getByRole("textbox", { name: "Message" });

/** Opens the actions of a message. */
async function actions(message: Locator) {
  await message.hover();
  await message.getByRole("button", { name: "Actions for this message" }).click();
  return message.getByRole("group", { name: "Actions for this message" });
}

test("edit, deletion and reaction appear for both people, and after a reload", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  const other = await person();
  await enter(other, "garden", "Bob");
  await post(page, "first");
  await post(page, "second");
  await expect(texts(other)).toHaveText(["first", "second"]);

  await (await actions(row(page, "first"))).getByRole("button", { name: "Edit" }).click();
  await expect(field(page)).toHaveValue("first");
  await field(page).fill("the **first**");
  await page.keyboard.press("Enter");
  await expect(field(page)).toHaveValue("");
  await (await actions(row(other, "the first"))).getByRole("button", { name: "React with 🎉" }).click();
  const remove = (await actions(row(page, "second"))).getByRole("button", { name: "Delete" });
  await remove.click();
  await page.getByRole("button", { name: "Delete for everyone?" }).click();

  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["the first", "This message was deleted."]);
    await expect(row(reader, "the first").locator("strong")).toHaveText("first");
    await expect(row(reader, "the first").getByText("(edited)")).toBeVisible();
    await expect(row(reader, "the first").locator(".chip")).toHaveText("🎉 1");
    await expect(row(reader, "the first").locator(".chip")).toHaveAttribute("title", "Bob");
  }
  const chip = row(page, "the first").locator(".chip");
  await expect(chip).toHaveAttribute("aria-pressed", "false");
  await chip.click();
  await expect(row(other, "the first").locator(".chip .number")).toHaveText("2");
  await expect(chip).toBeFocused();
  await expect(chip).toHaveAttribute("aria-pressed", "true");
  await chip.click();
  await expect(row(other, "the first").locator(".chip .number")).toHaveText("1");
  await expectAccessible(page);

  // A mismatch between the server's document and the page would be an error in the console.
  await other.reload();
  await waitUntilJoined(other);
  await expect(texts(other)).toHaveText(["the first", "This message was deleted."]);
  await expect(row(other, "the first").locator(".chip")).toHaveText("🎉 1");
});

test("others cannot edit or delete, and the author's actions are used by keyboard alone", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "from Bob");
  await enter(page, "garden", "Ann");
  const foreign = await actions(row(page, "from Bob"));
  await expect(foreign.getByRole("button", { name: "Reply" })).toBeVisible();
  await expect(foreign.getByRole("button", { name: "Edit" })).toHaveCount(0);
  await page.keyboard.press("Escape");
  await expect(foreign).toHaveCount(0);
  await expect(row(page, "from Bob").getByRole("button", { name: "Actions for this message" })).toBeFocused();

  await field(page).focus();
  await page.keyboard.type("typo");
  await page.keyboard.press("Enter");
  // Only a stored message can be edited.
  await expect(row(page, "typo")).toBeVisible();
  await page.keyboard.press("ArrowUp");
  await expect(page.getByText("Editing your message")).toBeVisible();
  await expect(field(page)).toHaveValue("typo");
  await page.keyboard.type(" mended");
  await page.keyboard.press("Enter");
  await expect(texts(page)).toHaveText(["from Bob", "typo mended"]);
  await expect(page.getByText("Editing your message")).toHaveCount(0);
});

test("open menu stays as it is while others react to its message", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  await post(page, "my own");
  const other = await person();
  await enter(other, "garden", "Bob");
  const menu = await actions(row(page, "my own"));
  await menu.getByRole("button", { name: "Delete" }).click();
  await (await actions(row(other, "my own"))).getByRole("button", { name: "React with 👍" }).click();
  await expect(row(page, "my own").locator(".chip")).toHaveText("👍 1");
  await expect(menu.getByRole("button", { name: "Delete for everyone?" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(texts(other)).toHaveText(["This message was deleted."]);
});

test("draft is kept while a message is edited, and an edit is cancelled", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await post(page, "한국어 메시지");
  await field(page).fill("half of a thought");
  await (await actions(row(page, "한국어"))).getByRole("button", { name: "Edit" }).click();
  await expect(field(page)).toHaveValue("한국어 메시지");
  await field(page).fill("다른 글");
  await page.keyboard.press("Escape");
  await expect(field(page)).toHaveValue("half of a thought");
  await expect(texts(page)).toHaveText(["한국어 메시지"]);
});

test("reply shows its message, follows its changes and leads to it", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  await post(page, "the question");
  const other = await person();
  await enter(other, "garden", "Bob");
  await (await actions(row(other, "the question"))).getByRole("button", { name: "Reply" }).click();
  await expect(other.getByText("Replying to Ann:")).toBeVisible();
  await other.keyboard.type("the answer");
  await other.keyboard.press("Enter");
  await expect(other.getByText("Replying to Ann:")).toHaveCount(0);
  const quote = page.locator(".quote");
  await expect(quote).toHaveText("In reply to Ann the question");
  await quote.click();
  await expect(
    page.locator(".message").first().getByRole("button", { name: "Actions for this message" }),
  ).toBeFocused();
  await (await actions(page.locator(".message").first())).getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete for everyone?" }).click();
  for (const reader of [page, other]) {
    await expect(reader.locator(".quote")).toHaveText("In reply to Ann This message was deleted.");
  }
});

test("link to a message opens the room at that place, with and without script", async ({ person, server, page }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 200; n++) await bob.post("garden", `message ${n}`);
  await page.goto("/r/garden?at=60#m60");
  await waitUntilJoined(page);
  await expect(page.locator("#m60")).toBeInViewport();
  await expect(page.locator("#m60 .more")).toBeFocused();
  // The rest of the room follows.
  await expect(page.locator("#m200")).toHaveCount(1);
  await expect(page.locator("#m60")).toBeInViewport();

  const plain = await person({ javaScriptEnabled: false });
  await plain.goto("/r/garden?at=60#m60");
  await expect(plain.locator("#m60")).toBeInViewport();

  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await (await actions(page.locator("#m61"))).getByRole("button", { name: "Copy link" }).click();
  await expect(page.getByRole("button", { name: "Link copied" })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`${server.url}/r/garden?at=61#m61`);
});

test.describe("with a server that restarts", () => {
  test.use({ expectedConsole: [new RegExp(`${SERVER_GONE.source}|ERR_INTERNET_DISCONNECTED`)] });

  test("change that was made while a page was offline is shown when it is back", async ({ page, person, server }) => {
    await enter(page, "garden", "Ann");
    await post(page, "before");
    const other = await person();
    await enter(other, "garden", "Bob");
    await server.stop();
    await expect(other.locator(".notice")).toBeVisible();
    // Without a connection nothing is sent, and the page says so.
    await (await actions(row(other, "before"))).getByRole("button", { name: "React with 👍" }).click();
    await expect(other.getByText("There is no connection right now.")).toBeVisible();
    await other.context().setOffline(true);
    await server.start();
    await expect(page.locator(".notice")).toHaveCount(0);
    await field(page).focus();
    await page.keyboard.press("ArrowUp");
    await field(page).fill("after");
    await page.keyboard.press("Enter");
    await expect(texts(page)).toHaveText(["after"]);
    await other.context().setOffline(false);
    await expect(texts(other)).toHaveText(["after"]);
  });
});

for (const width of [360, 1440]) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`open actions fit and are accessible at ${width} px, ${colorScheme}`, async ({ person, server }) => {
      const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
      await bob.post("garden", "a message");
      const page = await person({ viewport: { width, height: 800 }, colorScheme, hasTouch: width < 500 });
      await enter(page, "garden", "Ann");
      await field(page).fill("my own");
      // On touch keyboards Enter starts a new line.
      await page.getByRole("button", { name: "Send" }).click();
      const open = await actions(row(page, "my own"));
      await open.getByRole("button", { name: "React with 👍" }).click();
      await expect(row(page, "my own").locator(".chip")).toHaveCount(1);
      await actions(row(page, "my own"));
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await expectAccessible(page);
    });
  }
}

test("a swipe to the right replies, and scrolling does not", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 40; n++) await bob.post("garden", `message ${n}`);
  const page = await person({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await enter(page, "garden", "Ann");
  const input = await page.context().newCDPSession(page);
  const swipe = async (row: Locator, dx: number, dy: number) => {
    await row.scrollIntoViewIfNeeded();
    const box = (await row.boundingBox())!;
    const [x, y] = [box.x + 100, box.y + box.height / 2];
    await input.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y }] });
    for (let step = 1; step <= 8; step++) {
      const point = { x: x + (dx * step) / 8, y: y + (dy * step) / 8 };
      await input.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: [point] });
    }
    await input.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  const replying = page.locator(".purpose");
  for (const [dx, dy] of [
    [30, 0],
    [0, 120],
    [-120, 0],
  ]) {
    await swipe(row(page, "message 39"), dx, dy);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    expect(await replying.count()).toBe(0);
  }
  await swipe(row(page, "message 38"), 90, 4);
  await expect(replying).toContainText("message 38");
  await expect(row(page, "message 38")).not.toHaveCSS("transform", /matrix/);
  await field(page).fill("a reply");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.locator(".message", { hasText: "a reply" }).locator(".quote")).toContainText("message 38");
  bob.close();
});

test("any emoji is found by its English or Korean name, and by keyboard", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await post(page, "hello");
  await expect(texts(page)).toHaveText(["hello"]);
  const message = row(page, "hello");
  const dialog = page.getByRole("dialog", { name: "React with another emoji" });
  const open = async () => {
    await (await actions(message)).getByRole("button", { name: "React with another emoji" }).click();
    await expect(dialog.getByRole("searchbox")).toBeFocused();
  };
  await open();
  await page.keyboard.type("nerd");
  await expect(dialog.getByRole("button", { name: "nerd face" })).toBeVisible();
  await expectAccessible(page);
  await page.keyboard.press("Enter");
  await expect(dialog).toHaveCount(0);
  await expect(message.locator(".chip")).toHaveText([/🤓/]);

  await open();
  await dialog.getByRole("searchbox").fill("공부벌레");
  await expect(dialog.getByRole("group", { name: "Emoji", exact: true }).getByRole("button")).toHaveText(["🤓"]);
  await dialog.getByRole("searchbox").fill("no such emoji");
  await expect(dialog.getByText("There is no such emoji.")).toBeVisible();
  await dialog.getByRole("searchbox").fill("");
  await dialog.getByRole("button", { name: "flags" }).click();
  const first = dialog.getByRole("button", { name: "chequered flag" });
  await first.focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await expect(dialog.getByRole("button", { name: "triangular flag" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(message.locator(".chip")).toHaveText([/🤓/, /🚩/]);
  await open();
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(message.getByRole("button", { name: "Actions for this message" })).toBeFocused();
});

test("every emoji of the picker is a reaction that the server takes", async ({ server }) => {
  const { emoji } = await (await fetch(`${server.url}/emoji.json`)).json();
  expect(emoji.length).toBeGreaterThan(1_800);
  const client = await ProtocolClient.inRoom(server, "garden", "Ann");
  const { epoch } = client.frames.find((frame) => frame.payload?.epoch).payload;
  await client.post("garden", "hello");
  const react = (text: string, on: boolean) =>
    client.request("react", { room: client.id("garden"), target: { epoch, seq: 1 }, emoji: text, on });
  for (const { text } of emoji) {
    await react(text, true);
    await react(text, false);
  }
  client.close();
});
