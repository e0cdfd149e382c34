// Many tabs of one browser.
import { HttpProxy } from "./http-proxy";
import { SERVER_GONE, enter, expect, post, test, texts, waitUntilJoined, write } from "./support";

const PAUSED = "Noom is open in too many tabs; this one is paused.";

test("eight tabs work over HTTP/1.1 while WebSocket is blocked", async ({
  page,
  context,
  person,
  server,
  expectedConsole,
}) => {
  test.setTimeout(120_000);
  expectedConsole.push(SERVER_GONE);
  const proxy = await HttpProxy.to(server);
  const other = await person();
  await enter(other, "garden", "Bob");
  const tabs = [page];
  for (let n = 1; n < 8; n++) tabs.push(await context.newPage());
  for (const tab of tabs) {
    await tab.goto(`${proxy.url}/r/garden`);
    await waitUntilJoined(tab);
  }
  const paused = async () => {
    const counts = await Promise.all(tabs.map((tab) => tab.getByText(PAUSED).count()));
    return counts.map((count, index) => (count > 0 ? index : -1)).filter((index) => index >= 0);
  };
  // Three keep their connection, among them the one that was opened last.
  await expect.poll(async () => (await paused()).length).toBe(5);
  expect(await paused()).not.toContain(7);
  const [first, second] = await paused();
  await post(tabs[7], "from the last tab");
  await expect(texts(other)).toHaveText(["from the last tab"]);
  // A paused tab goes on when the reader is back, in place of another one.
  await tabs[first].evaluate(() => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })));
  await expect.poll(paused).not.toContain(first);
  await expect.poll(async () => (await paused()).length).toBe(5);
  await expect(texts(tabs[first])).toHaveText(["from the last tab"]);
  await post(tabs[first], "from the first tab");
  await expect(texts(other)).toHaveText(["from the last tab", "from the first tab"]);
  await tabs[second].getByRole("button", { name: "Reconnect" }).click();
  await expect.poll(paused).not.toContain(second);
  await expect.poll(async () => (await paused()).length).toBe(5);
  await Promise.all(tabs.map((tab) => tab.close()));
  proxy.remove();
});

test("tab that is paused while it posts takes the request back, and posts when it goes on", async ({
  page,
  context,
  person,
  server,
  expectedConsole,
}) => {
  expectedConsole.push(SERVER_GONE);
  const proxy = await HttpProxy.to(server);
  const other = await person();
  await enter(other, "garden", "Bob");
  await page.goto(`${proxy.url}/r/garden`);
  await waitUntilJoined(page);
  const release = await proxy.holdPost(() => write(page, "sent once"));
  for (let n = 0; n < 3; n++) {
    const tab = await context.newPage();
    await tab.goto(`${proxy.url}/r/garden`);
    await waitUntilJoined(tab);
  }
  await expect(page.getByText(PAUSED)).toBeVisible();
  // The server no longer knows the connection. A request that still came would be refused, which the console shows.
  release();
  await page.getByRole("button", { name: "Reconnect" }).click();
  await expect(texts(other)).toHaveText(["sent once"]);
  await expect(texts(page)).toHaveText(["sent once"]);
  proxy.remove();
});
