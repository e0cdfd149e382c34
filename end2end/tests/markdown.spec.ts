// Markdown in messages.
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { ProtocolClient, enter, expect, post, test, texts, waitUntilJoined } from "./support";

const body = async (page: Page, index: number) =>
  (await texts(page).nth(index).innerHTML()).replaceAll(/<!--.*?-->/g, "");

const code = '<code dir="auto" translate="no">';

const everything = [
  "Plans for **Friday**, *maybe* ~~Saturday~~: run `make test_all` first, see https://noom.example/docs_2.",
  "> a quote of two lines\n> with **bold**\n>> and a quote in it\n\nand an answer",
  "1. one\n   - inside\n2. two\n- apples\n- pears",
  '```rust\nfn main() {\n    println!("a line that is wider than any phone, so that it is scrolled sideways in its block");\n}\n```',
  '**굵게**은, **"강조"**은 *기울임*체로, ~~취소~~했어요. `코드`를 보세요.\n> 인용문\n- 목록',
];

test("two people see the same Markdown at once, and after a reload", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  const other = await person();
  await enter(other, "garden", "Bob");
  await post(page, "**bold** and `code`");
  await post(other, '**"강조"**은 *기울임*체');
  await post(page, "2 * 3 * 4, snake_case_name, ¯\\_(ツ)_/¯");
  const expected = [
    `<p><strong>bold</strong> and ${code}code</code></p>`,
    '<p><strong>"강조"</strong>은 <em>기울임</em>체</p>',
    "2 * 3 * 4, snake_case_name, ¯\\_(ツ)_/¯",
  ];
  for (const reader of [page, other]) {
    await expect(reader.locator(".message:not(.waiting) .text")).toHaveCount(3);
    for (const [index, html] of expected.entries()) expect(await body(reader, index)).toBe(html);
  }
  // A mismatch between the server's document and the page would be an error in the console.
  await other.reload();
  await waitUntilJoined(other);
  for (const [index, html] of expected.entries()) expect(await body(other, index)).toBe(html);
});

test("code block is scrolled and copied with the keyboard", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", everything[3]);
  await bob.post("garden", "```\nshort\n```");
  const page = await person({
    viewport: { width: 320, height: 640 },
    permissions: ["clipboard-read", "clipboard-write"],
  });
  await enter(page, "garden", "Ann");
  const region = page.getByRole("region", { name: "Code" });
  await expect(region).toHaveCount(1);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  expect(await region.evaluate((pre) => pre.scrollWidth > pre.clientWidth)).toBe(true);
  await region.focus();
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => region.evaluate((pre) => pre.scrollLeft)).toBeGreaterThan(0);
  const copy = page.locator(".code-block button");
  await copy.first().focus();
  await page.keyboard.press("Enter");
  await expect(copy.first()).toHaveText("Copied");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
    everything[3].split("\n").slice(1, -1).join("\n"),
  );
  await expect(copy.first()).toHaveText("Copy");
  await expectAccessible(page);
});

test("selected text is copied with its numbers, bullets and line breaks", async ({ page, server, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "before **bold**\n1. one\n   - inside\n2. two\n> quote\n```\na\n  b\n```\nafter\nthat");
  await enter(page, "garden", "Ann");
  await texts(page)
    .first()
    .evaluate((text) => getSelection()!.selectAllChildren(text));
  await page.keyboard.press("Control+C");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const lines = copied.split("\n").map((line) => line.trimEnd());
  expect(lines.filter((line) => line && line !== "Copy")).toEqual([
    "before bold",
    "1. one",
    "• inside",
    "2. two",
    "quote",
    "a",
    "  b",
    "after",
    "that",
  ]);
});

test("hostile Markdown stays text and does not break the page", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  const repeated = (text: string) => text.repeat(4_000 / text.length);
  const hostile = [
    "<script>document.title = 'x'</script> **<img src=x onerror=\"document.title='x'\">**",
    "```\n</code></pre></div><script>document.title = 'x'</script>\n```",
    "> </blockquote><b>",
    "[here](javascript:alert(1)) [here](https://evil.example)",
    "`\u202e` **\u202e** ```\u202e```",
    ...["*", "*_", "**a ", "*a* ", "`", "`a``", "[", "> ", "- a\n", "- a\n  - b\n", "> a\n\n", "```\n", "~~a~~ "].map(
      repeated,
    ),
    `${"> ".repeat(100)}a`,
    `\`\`\`\n${"wide ".repeat(700)}\n\`\`\``,
  ];
  for (const text of hostile) await bob.post("garden", text);
  const page = await person({ viewport: { width: 320, height: 640 } });
  await enter(page, "garden", "Ann");
  await expect(texts(page)).toHaveCount(hostile.length);
  const title = await page.title();
  expect(title).toContain("garden");
  expect(await page.locator(".text :is(script, img, b)").count()).toBe(0);
  expect(
    await page
      .getByRole("log")
      .getByRole("link")
      .evaluateAll((links) => links.map((link) => link.textContent)),
  ).toEqual(["https://evil.example"]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  await post(page, "**still here**");
  await expect(texts(page).last()).toHaveText("still here");
});

test("long Markdown is collapsed by its rows", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", `\`\`\`\n${"a line of code\n".repeat(100)}\`\`\``);
  await enter(page, "garden", "Ann");
  const long = page.locator(".text.long");
  const height = async () => (await long.boundingBox())!.height;
  expect(await height()).toBeLessThan(700);
  await page.getByRole("button", { name: "Show all" }).click();
  expect(await height()).toBeGreaterThan(1_500);
  await page.getByRole("button", { name: "Show less" }).click();
  await expect.poll(height).toBeLessThan(700);
  // The copy button is in the collapsed part: the focus opens it.
  await page.getByRole("button", { name: "Copy", exact: true }).focus();
  await expect.poll(height).toBeGreaterThan(1_500);
});

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [320, 1440]) {
    test(`Markdown is accessible and fits the screen: ${colorScheme}, ${width} px`, async ({ person, server }) => {
      const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
      for (const text of everything) await bob.post("garden", text);
      const page = await person({ colorScheme, viewport: { width, height: 900 } });
      await enter(page, "garden", "Ann");
      for (const text of everything) await post(page, text);
      await expect(page.locator(".message:not(.waiting) .text")).toHaveCount(2 * everything.length);
      await expectAccessible(page);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      // Forced colours replace both themes.
      if (colorScheme === "dark") return;
      await page.emulateMedia({ forcedColors: "active" });
      await expectAccessible(page);
    });
  }
}

test("code of a page without JavaScript has no button", async ({ person, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "```js\nlet a;\n```");
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await expect(page.locator("pre")).toHaveText("let a;");
  await expect(page.locator(".code-bar")).toContainText("js");
  await expect(page.locator(".code-block button")).toBeHidden();
});
