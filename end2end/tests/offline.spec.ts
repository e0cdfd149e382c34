// Copies of pages, shown while the server cannot be reached.
import type { Page } from "@playwright/test";
import { ProtocolClient, SERVER_GONE, enter, expect, hide, post, test, texts, write } from "./support";

/** Hides the page, and waits until there is a copy of a path that contains a text. */
async function expectCopy(page: Page, path: string, text: string) {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
  await hide(page, true);
  const copy = () => page.evaluate(async (path) => (await (await caches.match(path))?.text()) ?? "", path);
  await expect.poll(copy).toContain(text);
  await hide(page, false);
}

const copiedPaths = (page: Page) =>
  page.evaluate(async () => {
    const pages = (await caches.keys()).filter((name) => name.startsWith("noom-pages-"));
    const requests = await Promise.all(pages.map(async (name) => (await caches.open(name)).keys()));
    return requests.flat().map((request) => new URL(request.url).pathname);
  });

const notice = (page: Page) => page.locator(".connection .notice");

test("room is read and written while the server is gone, and what was written is sent", async ({
  page,
  server,
  expectedConsole,
}) => {
  expectedConsole.push(SERVER_GONE);
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "from Bob");
  await enter(page, "garden", "Ann");
  await post(page, "from Ann");
  await expect(texts(page)).toHaveText(["from Bob", "from Ann"]);
  await expectCopy(page, "/r/garden", "from Ann");

  await server.stop();
  await page.reload();
  await expect(texts(page)).toHaveText(["from Bob", "from Ann"]);
  await expect(notice(page)).toBeVisible();
  await write(page, "written without a server");
  await expect(page.getByText("written without a server")).toBeVisible();
  // Also in the next document.
  await page.goto("/r/garden?at=1#m1");
  await expect(page.getByText("written without a server")).toBeVisible();

  await server.start();
  const carol = await ProtocolClient.inRoom(server, "garden", "Carol");
  await expect(notice(page)).toHaveCount(0, { timeout: 40_000 });
  await expect(texts(page)).toHaveText(["from Bob", "from Ann", "written without a server"]);
  await expect
    .poll(
      async () =>
        (await carol.request("history", { room: carol.id("garden"), before: 1_000, limit: 10 })).messages.length,
    )
    .toBe(3);
  carol.close();
});

test("links lead to copies of other rooms and of the first page", async ({ page, server, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE, /Failed to fetch/);
  await enter(page, "garden", "Ann");
  await post(page, "in the garden");
  await expectCopy(page, "/r/garden", "in the garden");
  await page.getByRole("link", { name: "All rooms" }).first().click();
  await page.getByRole("textbox", { name: "Room" }).fill("새 방");
  await page.getByRole("button", { name: "Enter" }).click();
  await post(page, "in the new room");
  await expect(texts(page)).toHaveText(["in the new room"]);
  await expect(page.getByRole("navigation").getByRole("link", { name: "새 방" })).toBeVisible();
  await expectCopy(page, `/r/${encodeURIComponent("새 방")}`, "in the new room");
  await expect
    .poll(() => page.evaluate(async () => (await (await caches.match("/"))?.text()) ?? ""))
    .toContain("새 방");

  await server.stop();
  await page.getByRole("navigation").getByRole("link", { name: "garden" }).click();
  await expect(texts(page)).toHaveText(["in the garden"]);
  // The page is hydrated.
  await expect(notice(page)).toBeVisible();
  // Back leads to the other copy, although the page cannot be loaded again.
  await page.goBack();
  await expect(texts(page)).toHaveText(["in the new room"]);
  await page.goto("/");
  await expect(page.getByRole("region", { name: "Your rooms" }).getByRole("link")).toHaveText(["garden", "새 방"]);
  // There is no copy of a room that was never opened.
  await page.goto("/r/cellar");
  await expect(page).toHaveURL("/");
});

test("copies follow deletions, and belong to one user", async ({ page, context }) => {
  await enter(page, "garden", "Ann");
  await post(page, "a secret");
  await expect(texts(page)).toHaveText(["a secret"]);
  await expectCopy(page, "/r/garden", "a secret");
  const message = page.locator(".message", { hasText: "a secret" });
  await message.hover();
  await message.getByRole("button", { name: "Actions for this message" }).click();
  await message.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete for everyone?" }).click();
  await expect(page.getByText("a secret")).toHaveCount(0);
  await hide(page, true);
  const copy = () => page.evaluate(async () => (await (await caches.match("/r/garden"))?.text()) ?? "");
  await expect.poll(copy).not.toContain("a secret");
  expect(await copy()).toContain("This message was deleted.");
  await hide(page, false);

  await context.clearCookies();
  await page.evaluate(() => sessionStorage.clear());
  await enter(page, "kitchen", "Eve");
  await post(page, "from Eve");
  await expectCopy(page, "/r/kitchen", "from Eve");
  expect((await copiedPaths(page)).sort()).toEqual(["/", "/r/kitchen"]);
});

test("Noom can be installed", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await page.evaluate(() => navigator.serviceWorker.ready);
  const session = await page.context().newCDPSession(page);
  const { errors } = (await session.send("Page.getAppManifest")) as { errors: unknown[] };
  expect(errors).toEqual([]);
  const { installabilityErrors } = (await session.send("Page.getInstallabilityErrors")) as {
    installabilityErrors: { errorId: string }[];
  };
  // Playwright's contexts are those of a private window.
  expect(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito")).toEqual([]);
});
