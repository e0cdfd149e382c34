// The page at an address that is not the server's public one.
import { Server, expect, test } from "./support";

test("page at a wrong address names the right one", async ({ page, expectedConsole }) => {
  expectedConsole.push(/WebSocket connection to .* failed|status of 403/);
  const server = new Server({ NOOM_PUBLIC_URL: "https://noom.test:443" });
  await server.start();
  await page.goto(`${server.url}/r/garden`);
  const notice = page.getByRole("alert").filter({ hasText: "This server has another address" });
  await expect(notice.getByRole("link")).toHaveAttribute("href", "https://noom.test/r/garden");
  await server.remove();
});

test("page at the public address shows no such notice", async ({ page, server }) => {
  await page.goto(`${server.url}/r/garden`);
  await expect(page.getByRole("textbox", { name: "Message" })).toBeVisible();
  await expect(page.locator("meta[name=noom-origin]")).toHaveCount(0);
  await expect(page.getByText("This server has another address")).toHaveCount(0);
});
