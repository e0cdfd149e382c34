// Exports of a room, as its page offers them.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import type { Download, Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, enter, expect, post, test, texts } from "./support";

const ROOM = "한국어 방";
const HOSTILE = '</p><script>document.title = "taken"</script> <b>bold</b> & "quotes"';

/** Starts a download and waits until it is complete. */
async function download(page: Page, start: () => Promise<void>): Promise<Download> {
  const [started] = await Promise.all([page.waitForEvent("download"), start()]);
  expect(await started.failure()).toBeNull();
  return started;
}

async function lines(download: Download) {
  const text = await readFile(await download.path(), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("room is exported by clicks, and the page stays", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, ROOM, "Bob");
  await bob.post(ROOM, HOSTILE);
  await enter(page, ROOM, "Ann");
  await page.getByRole("complementary").getByText("Export").click();
  await expectAccessible(page);
  const html = await download(page, () => page.getByRole("link", { name: "Web page (HTML)" }).click());
  expect(html.suggestedFilename()).toMatch(/^noom-한국어 방-\d{4}-\d\d-\d\d\.html$/);
  const data = await download(page, () => page.getByRole("link", { name: "Data (JSON Lines)" }).click());
  expect(data.suggestedFilename()).toMatch(/^noom-한국어 방-\d{4}-\d\d-\d\d\.jsonl$/);
  const [begin, message, end] = await lines(data);
  expect(begin).toMatchObject({ format: "noom-export", version: 2, name: ROOM, head: 1 });
  expect(message).toMatchObject({ seq: 1, text: HOSTILE, user: { nickname: "Bob" } });
  expect(end).toEqual({ end: 1 });
  await post(page, "still here");
  await expect(texts(page)).toHaveText([HOSTILE, "still here"]);
});

test("room is exported by the keyboard alone on a phone", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, ROOM, "Bob");
  await bob.post(ROOM, "hello");
  const page = await person({ viewport: { width: 360, height: 640 }, locale: "ko-KR" });
  await enter(page, ROOM);
  await page.locator(".menu > summary").focus();
  await page.keyboard.press("Enter");
  await page.locator(".menu .export summary").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "웹 페이지 (HTML)" })).toBeFocused();
  await expect(page.getByRole("link", { name: "웹 페이지 (HTML)" })).toBeInViewport();
  await expectAccessible(page);
  const html = await download(page, () => page.keyboard.press("Enter"));
  expect(await readFile(await html.path(), "utf8")).toContain('<html lang="ko"');
  await page.keyboard.press("Tab");
  const data = await download(page, () => page.keyboard.press("Enter"));
  expect((await lines(data)).at(-1)).toEqual({ end: 1 });
});

test("room is exported without JavaScript", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, ROOM, "Bob");
  await bob.post(ROOM, "hello");
  const page = await person({ javaScriptEnabled: false });
  await page.goto(`/r/${encodeURIComponent(ROOM)}`);
  await page.getByRole("complementary").getByText("Export").click();
  const data = await download(page, () => page.getByRole("link", { name: "Data (JSON Lines)" }).click());
  expect(await lines(data)).toHaveLength(3);
});

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [360, 1440]) {
    test(`exported page is readable: ${colorScheme}, ${width} px`, async ({ person, server }) => {
      const bob = await ProtocolClient.inRoom(server, ROOM, "Bob");
      await bob.post(ROOM, HOSTILE);
      await bob.post(ROOM, `in two\nlines https://noom.example/${"long".repeat(60)}`);
      const ann = await ProtocolClient.inRoom(server, ROOM, "Ann, with a long name to fit in");
      await ann.post(ROOM, "안녕하세요, 반가워요!");
      const page = await person({ colorScheme, viewport: { width, height: 740 } });
      await enter(page, "elsewhere");
      const file = await download(page, () =>
        page.evaluate(
          (path) => {
            const link = Object.assign(document.createElement("a"), { href: path, download: "" });
            link.click();
          },
          `/r/${encodeURIComponent(ROOM)}/export?format=html`,
        ),
      );
      const requests: string[] = [];
      page.on("request", (request) => requests.push(request.url()));
      const path = `${await file.path()}.html`;
      await file.saveAs(path);
      await page.goto(pathToFileURL(path).href);
      await expect(page.getByRole("heading", { name: ROOM })).toBeVisible();
      await expect(page).toHaveTitle(`${ROOM} · Noom`);
      const shown = page.locator(".text");
      await expect(shown).toHaveCount(3);
      expect(await shown.first().textContent()).toBe(HOSTILE);
      await expect(page.locator("script, b, img")).toHaveCount(0);
      await expect(page.getByText("This is the end of the export. The file is complete.")).toBeVisible();
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      expect(requests).toHaveLength(1);
      await expectAccessible(page);
    });
  }
}
