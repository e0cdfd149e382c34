// Mentions: "@" and a name.
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, enter, expect, post, takeName, test, texts } from "./support";

const field = (page: Page) => page.getByRole("textbox", { name: "Message" });
const people = (page: Page) => page.getByRole("listbox", { name: "People to mention" }).getByRole("option");

for (const viewport of [
  { width: 360, height: 740 },
  { width: 1440, height: 900 },
]) {
  test(`person is chosen from the list and sees the mention at ${viewport.width} px`, async ({ page, person }) => {
    await page.setViewportSize(viewport);
    await enter(page, "garden", "Ann");
    const other = await person({ viewport });
    await enter(other, "garden", "김철수");
    await field(page).pressSequentially("hello @김");
    await expect(people(page).locator("bdi")).toHaveText(["김철수"]);
    await expect(field(page)).toHaveAttribute("aria-activedescendant", "mention-list-0");
    await expectAccessible(page);
    await page.keyboard.press("Enter");
    await expect(field(page)).toHaveValue("hello @김철수 ");
    await expect(people(page)).toHaveCount(0);
    // An ending belongs to the word, not to the name.
    await page.keyboard.press("Backspace");
    await page.keyboard.type("야");
    await page.keyboard.press("Enter");
    for (const reader of [page, other]) {
      await expect(texts(reader)).toHaveText(["hello @김철수야"]);
      await expect(reader.locator(".text .mention")).toHaveText("@김철수");
    }
    await expect(other.locator(".message.mentions-me")).toHaveCount(1);
    await expect(page.locator(".message.mentions-me")).toHaveCount(0);
    await expectAccessible(other);
    // A mismatch between the server's document and the page would be an error in the console.
    await other.reload();
    await expect(other.locator(".text .mention.me")).toHaveText("@김철수");
  });
}

test("list is used by keyboard and mouse, and Escape closes nothing else", async ({ page, server }) => {
  for (const name of ["Bob", "Bernard"]) await ProtocolClient.inRoom(server, "garden", name);
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  await expect(texts(page)).toHaveText(["mine"]);
  await field(page).press("ArrowUp");
  await expect(field(page)).toHaveValue("mine");
  await page.keyboard.type(" @b");
  await expect(people(page)).toHaveCount(2);
  await page.keyboard.press("Escape");
  await expect(people(page)).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Cancel" })).toBeVisible();
  await page.keyboard.type("e");
  await expect(people(page)).toHaveCount(1);
  await page.keyboard.press("Backspace");
  await expect(people(page)).toHaveCount(2);
  await page.keyboard.press("ArrowDown");
  await expect(people(page).nth(1)).toHaveAttribute("aria-selected", "true");
  const name = (await people(page).nth(1).locator("bdi").textContent())!;
  await page.keyboard.press("Tab");
  await expect(field(page)).toHaveValue(`mine @${name} `);
  await expect(field(page)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(texts(page).locator(".mention")).toHaveText(`@${name}`);
  await field(page).pressSequentially("and @Bo");
  await people(page).click();
  await expect(field(page)).toHaveValue("and @Bob ");
  // An address is not a name.
  await field(page).fill("");
  await field(page).pressSequentially("me@b");
  await expect(people(page)).toHaveCount(0);
});

test("mentions in another room are counted apart until they are read", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  await post(page, "mine");
  await enter(page, "kitchen");
  await post(page, "other");
  const bob = await person();
  await enter(bob, "garden");
  await takeName(bob, "Bob");
  await post(bob, "one");
  await post(bob, "@Ann two");
  const garden = page.getByRole("navigation", { name: "Your rooms" }).getByRole("link", { name: "garden" });
  await expect(garden.locator(".badge.mention")).toHaveText("@1");
  await expect(garden.locator(".badge:not(.mention)")).toHaveText("2");
  await expectAccessible(page);
  await garden.click();
  await expect(page.locator(".message.mentions-me")).toHaveText(/@Ann two/);
  await expect(garden.locator(".badge")).toHaveCount(0);
});
