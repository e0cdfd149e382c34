// Removing many messages: a user's own, and all of a room.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, SERVER_GONE, type Server, enter, expect, post, test, texts } from "./support";

const GONE = "This message was deleted.";
const deleted = (page: Page) => page.getByRole("log").getByText(GONE);
const heading = (page: Page) => page.getByText("Delete my messages").filter({ visible: true });
const sure = (page: Page) => page.getByRole("button", { name: "Delete all of my messages" }).filter({ visible: true });

/** Opens the form, which is in a menu on narrow screens. */
async function openForm(page: Page) {
  const menu = page.locator(".menu > summary").filter({ visible: true });
  if (await menu.count()) await menu.click();
  await heading(page).click();
}

function purge(server: Server, ...options: string[]) {
  const program = join(import.meta.dirname, "../../target/release/noom");
  execFileSync(program, ["--data-dir", server.data, "purge", ...options]);
}

for (const viewport of [
  { width: 360, height: 740 },
  { width: 1440, height: 900 },
]) {
  test(`own messages are deleted on all pages at ${viewport.width} px`, async ({ page, person }) => {
    await page.setViewportSize(viewport);
    await enter(page, "garden", "Ann");
    const other = await person({ viewport });
    await enter(other, "garden", "Bob");
    for (const text of ["one", "two"]) await post(page, text);
    await post(other, "three");
    await openForm(page);
    await expect(page.getByText("It cannot be undone.").filter({ visible: true })).toBeVisible();
    await expectAccessible(page);
    await sure(page).click();
    for (const everyone of [page, other]) await expect(deleted(everyone)).toHaveCount(2);
    await expect(page.getByText("Your messages are being deleted.").filter({ visible: true })).toBeVisible();
    await expect(texts(other)).toHaveText([GONE, GONE, "three"]);
    await page.reload();
    await expect(deleted(page)).toHaveCount(2);
  });
}

test("own messages are deleted by the keyboard alone", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await post(page, "one");
  await page.locator("aside .delete-own summary").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await expect(sure(page)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(deleted(page)).toHaveCount(1);
  await expect(sure(page)).toBeFocused();
});

test("deletion without a connection is told to the user", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE);
  await enter(page, "garden", "Ann");
  await post(page, "one");
  await server.stop();
  await expect(
    page
      .getByRole("status")
      .filter({ hasText: /connect/i })
      .first(),
  ).toBeVisible();
  await openForm(page);
  await sure(page).click();
  await expect(page.getByText("The server cannot be reached.").filter({ visible: true })).toBeVisible();
  await server.start();
  // As soon as the page is connected again.
  await expect(async () => {
    await sure(page).click();
    await expect(deleted(page)).toHaveCount(1, { timeout: 1_000 });
  }).toPass({ timeout: 30_000 });
});

test("own messages are deleted without JavaScript", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "two");
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await page.getByRole("textbox", { name: "Message" }).fill("one");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(texts(page)).toHaveText(["two", "one"]);
  await page.getByRole("complementary").getByText("Delete my messages").click();
  await page.getByRole("complementary").getByRole("button", { name: "Delete all of my messages" }).click();
  await expect(page).toHaveURL("/r/garden");
  await expect(async () => {
    await page.reload();
    await expect(deleted(page)).toHaveCount(1, { timeout: 100 });
  }).toPass();
  await expect(texts(page)).toHaveText(["two", GONE]);
});

test("room that is cleared on the command line is empty on open pages", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 80; n++) await bob.post("garden", `message ${n}`);
  await enter(page, "garden", "Ann");
  await expect(texts(page).last()).toHaveText("message 80");
  purge(server, "--room", "garden");
  await expect(texts(page)).toHaveCount(0, { timeout: 15_000 });
  await expect(page.getByText("Earlier messages have been deleted.")).toBeVisible();
  await expect(page.getByText("No messages yet")).toHaveCount(0);
  await post(page, "afterwards");
  await page.reload();
  await expect(texts(page)).toHaveText(["afterwards"]);
  await expect(page.getByText("Earlier messages have been deleted.")).toBeVisible();
});
