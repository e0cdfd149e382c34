// Pinned messages.
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, enter, expect, post, test } from "./support";

const row = (page: Page, text: string) => page.getByRole("log").locator(".message:not(.waiting)", { hasText: text });
const panel = (page: Page) => page.getByRole("region", { name: "Search messages" });
const pinned = (page: Page) => panel(page).locator(".results .found");

/** Opens the pinned messages from the list of members, which is a menu on narrow screens. */
async function openPins(page: Page) {
  const menu = page.locator(".menu > summary").filter({ visible: true });
  if (await menu.count()) await menu.click();
  await page.getByRole("link", { name: "Pinned messages" }).filter({ visible: true }).click();
  await expect(panel(page).getByRole("heading", { name: "Pinned messages" })).toBeVisible();
}

async function act(page: Page, text: string, action: string) {
  await row(page, text).hover();
  await row(page, text).getByRole("button", { name: "Actions for this message" }).click();
  await page.getByRole("button", { name: action, exact: true }).click();
}

for (const viewport of [
  { width: 360, height: 740 },
  { width: 1440, height: 900 },
]) {
  test(`pinned messages are marked and listed for both people at ${viewport.width} px`, async ({ page, person }) => {
    await page.setViewportSize(viewport);
    await enter(page, "garden", "Ann");
    const other = await person({ viewport });
    await enter(other, "garden", "Bob");
    for (const text of ["when we meet", "hello", "where we meet"]) await post(page, text);
    await openPins(other);
    await expect(panel(other).getByText("No message is pinned.")).toBeVisible();

    await act(page, "when we meet", "Pin");
    await expect(row(page, "when we meet").getByText("Pinned by Ann")).toBeVisible();
    // A list that is open follows.
    await expect(pinned(other)).toHaveText(["when we meet"]);
    await act(page, "where we meet", "Pin");
    await expect(pinned(other)).toHaveText(["where we meet", "when we meet"]);
    await expectAccessible(other);

    // What is typed is searched, and an empty field brings the list back.
    const words = panel(other).getByRole("searchbox");
    await words.fill("hello");
    await expect(pinned(other)).toHaveText(["hello"]);
    await expect(panel(other).getByRole("heading")).toHaveCount(0);
    await words.fill("");
    await expect(pinned(other)).toHaveText(["where we meet", "when we meet"]);

    await panel(other).getByRole("link", { name: "when we meet" }).click();
    await expect(row(other, "when we meet").getByRole("button", { name: "Actions for this message" })).toBeFocused();
    await act(other, "when we meet", "Unpin");
    await expect(row(page, "when we meet").getByText("Pinned by")).toHaveCount(0);
    await page.reload();
    await expect(row(page, "where we meet").getByText("Pinned by Ann")).toBeVisible();
    await openPins(page);
    await expect(pinned(page)).toHaveText(["where we meet"]);
  });
}

test("pinned messages are listed without JavaScript", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  const { seq } = await bob.post("garden", "when we meet");
  await bob.post("garden", "hello");
  const { epoch } = await bob.enter("garden");
  await bob.request("pin_message", { room: bob.id("garden"), target: { epoch, seq }, on: true });
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await expect(row(page, "when we meet").getByText("Pinned by Bob")).toBeVisible();
  await page.getByRole("link", { name: "Pinned messages" }).filter({ visible: true }).click();
  await expect(pinned(page)).toHaveText(["when we meet"]);
});
