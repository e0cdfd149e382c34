// The composer: input methods, touch keyboards, drafts, pasted text.
import type { Page } from "@playwright/test";
import { ProtocolClient, enter, expect, post, test, texts, waitUntilJoined } from "./support";

const composer = (page: Page) => page.getByRole("textbox", { name: "Message" });

/** An input method, as the browser's own input pipeline sees it. */
async function inputMethod(page: Page) {
  const devtools = await page.context().newCDPSession(page);
  const key = (type: string, options = {}) => devtools.send("Input.dispatchKeyEvent", { type, ...options } as any);
  return {
    compose: (text: string) =>
      devtools.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length }),
    commit: (text: string) => devtools.send("Input.insertText", { text }),
    /** A key that the input method handles: its code is hidden. */
    hiddenKey: () =>
      key("rawKeyDown", { windowsVirtualKeyCode: 229, key: "Process", code: "Enter", nativeVirtualKeyCode: 229 }),
    rawEnter: () => key("rawKeyDown", { windowsVirtualKeyCode: 13, key: "Enter", code: "Enter" }),
    lineBreak: () => key("char", { text: "\r", unmodifiedText: "\r" }),
    keyUp: () => key("keyUp", { windowsVirtualKeyCode: 13, key: "Enter", code: "Enter" }),
  };
}

type InputMethod = Awaited<ReturnType<typeof inputMethod>>;
const orders: [string, (ime: InputMethod) => Promise<void>][] = [
  [
    "key 229, commit, line break",
    async (ime) => {
      await ime.hiddenKey();
      await ime.commit("요");
      await ime.lineBreak();
    },
  ],
  [
    "key in the composition, commit, line break",
    async (ime) => {
      await ime.rawEnter();
      await ime.commit("요");
      await ime.lineBreak();
    },
  ],
  [
    "key in the composition, commit",
    async (ime) => {
      await ime.rawEnter();
      await ime.commit("요");
    },
  ],
  [
    "key and line break in the composition",
    async (ime) => {
      await ime.rawEnter();
      await ime.lineBreak();
    },
  ],
  [
    "commit, key 229, line break",
    async (ime) => {
      await ime.commit("요");
      await ime.hiddenKey();
      await ime.lineBreak();
    },
  ],
  [
    "key 229, commit, key",
    async (ime) => {
      await ime.hiddenKey();
      await ime.commit("요");
      await ime.rawEnter();
    },
  ],
];
test("one Enter sends a Korean syllable that is being composed, in every order of events", async ({ page }) => {
  await enter(page, "garden");
  const sent: string[] = [];
  for (const [name, order] of orders) {
    await composer(page).pressSequentially(`${sent.length} 안녕하세`);
    const ime = await inputMethod(page);
    await ime.compose("요");
    await expect(composer(page)).toHaveValue(`${sent.length} 안녕하세요`);
    await order(ime);
    await ime.keyUp();
    sent.push(`${sent.length} 안녕하세요`);
    await expect(texts(page), name).toHaveText(sent);
    await expect(composer(page), name).toHaveValue("");
  }
});

test("one Enter chooses the person to mention while a Korean syllable is composed", async ({ page, server }) => {
  await ProtocolClient.inRoom(server, "garden", "요나");
  await enter(page, "garden");
  for (const [name, order] of orders) {
    await composer(page).pressSequentially("hello @");
    const ime = await inputMethod(page);
    await ime.compose("요");
    await expect(page.getByRole("listbox", { name: "People to mention" }).getByRole("option")).toHaveCount(1);
    await order(ime);
    await ime.keyUp();
    await expect(composer(page), name).toHaveValue("hello @요나 ");
    await composer(page).fill("");
  }
  await expect(texts(page)).toHaveCount(0);
});

test("Enter that confirms a Japanese candidate sends nothing", async ({ page }) => {
  await enter(page, "garden");
  await composer(page).focus();
  const ime = await inputMethod(page);
  await ime.compose("漢字");
  await ime.hiddenKey();
  await ime.commit("漢字");
  await ime.keyUp();
  await ime.compose("です");
  await ime.rawEnter();
  await ime.commit("です");
  await ime.keyUp();
  await expect(composer(page)).toHaveValue("漢字です");
  await composer(page).press("Shift+Enter");
  await composer(page).pressSequentially("b");
  await expect(texts(page)).toHaveCount(0);
  await composer(page).press("Enter");
  await expect(texts(page)).toHaveText(["漢字です\nb"]);
});

test("Enter starts a line on a touch keyboard, and the button sends", async ({ person }) => {
  const page = await person({ isMobile: true, hasTouch: true, viewport: { width: 390, height: 660 } });
  await enter(page, "garden");
  await expect(composer(page)).toHaveAttribute("enterkeyhint", "enter");
  await composer(page).tap();
  await page.keyboard.type("one");
  await page.keyboard.press("Enter");
  await page.keyboard.type("two");
  await expect(composer(page)).toHaveValue("one\ntwo");
  await page.getByRole("button", { name: "Send" }).tap();
  await expect(texts(page)).toHaveText(["one\ntwo"]);
  await page.keyboard.type("three");
  await page.keyboard.press("Control+Enter");
  await expect(texts(page)).toHaveText(["one\ntwo", "three"]);
});

test("draft is kept for each room and tab until it is sent or cleared", async ({ page, context }) => {
  await enter(page, "garden");
  await composer(page).fill("a draft\nin two lines");
  await page.reload();
  await waitUntilJoined(page);
  await expect(composer(page)).toHaveValue("a draft\nin two lines");
  await enter(page, "kitchen");
  await expect(composer(page)).toHaveValue("");
  // A new tab starts with the shared draft, and keeps its own from then on.
  const second = await context.newPage();
  await enter(second, "garden");
  await expect(composer(second)).toHaveValue("a draft\nin two lines");
  await composer(second).fill("another");
  await enter(page, "garden");
  await expect(composer(page)).toHaveValue("a draft\nin two lines");
  await composer(page).press("Enter");
  await expect(texts(page)).toHaveText(["a draft\nin two lines"]);
  for (const [tab, kept] of [
    [page, ""],
    [second, "another"],
  ] as const) {
    await tab.reload();
    await waitUntilJoined(tab);
    await expect(composer(tab)).toHaveValue(kept);
  }
  await composer(second).fill("");
  await second.reload();
  await waitUntilJoined(second);
  await expect(composer(second)).toHaveValue("");
  expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes("draft")))).toEqual([]);
});

test("control characters in pasted text do not prevent sending", async ({ page }) => {
  await enter(page, "garden");
  await composer(page).fill("one\u000btwo\u000cthree\u0085four\u0000\u001b[1m\u0007");
  await composer(page).press("Enter");
  await expect(texts(page)).toHaveText(["one\ntwo\nthree\nfour[1m"]);
});

test("links show where they lead, and tall texts stay small", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "\u202ehttps://a.example/moc\u202c （https://b.example） www.example.org me@example.org");
  await bob.post("garden", `${"\n".repeat(3_000)}.`);
  await bob.post("garden", `Z${"\u0301".repeat(300)}`);
  await bob.post("garden", "last");
  await enter(page, "garden");
  const links = page.getByRole("log").getByRole("link");
  expect(
    await links.evaluateAll((links) => links.map((link) => [link.textContent, link.getAttribute("href")])),
  ).toEqual([
    ["https://a.example/moc", "https://a.example/moc"],
    ["https://b.example", "https://b.example"],
    ["www.example.org", "https://www.example.org"],
    ["me@example.org", "mailto:me@example.org"],
  ]);
  expect(await links.first().evaluate((link) => getComputedStyle(link).unicodeBidi)).toBe("isolate");
  const tall = page.locator(".text.long");
  expect((await tall.boundingBox())!.height).toBeLessThan(700);
  await page.getByRole("button", { name: "Show all" }).click();
  expect((await tall.boundingBox())!.height).toBeGreaterThan(10_000);
  await page.getByRole("button", { name: "Show less" }).click();
  await expect.poll(async () => (await tall.boundingBox())!.height).toBeLessThan(700);
  expect(
    await texts(page)
      .nth(2)
      .evaluate((text) => getComputedStyle(text).overflowY),
  ).toBe("clip");
});

test("hostile texts block no reader", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (const closing of [")", "]", "}"])
    for (let n = 0; n < 10; n++) await bob.post("garden", `https://a${closing.repeat(3_980)}`);
  await page.addInitScript(() => {
    (window as any).long = [];
    new PerformanceObserver((list) =>
      (window as any).long.push(...list.getEntries().map((entry) => entry.duration)),
    ).observe({ type: "longtask", buffered: true });
  });
  await enter(page, "garden");
  await expect(page.getByRole("link", { name: "https://a" })).toHaveCount(30);
  // Hydration itself may be a long task on a slow machine, but not for a multiple of it.
  const longest = Math.max(0, ...(await page.evaluate(() => (window as any).long as number[])));
  test.info().annotations.push({ type: "longest task", description: `${longest} ms` });
  await post(page, "still here");
  await expect(texts(page).last()).toHaveText("still here");
});
