// Small viewports, keyboard focus, announcements and forced colours.
import type { Page } from "@playwright/test";
import { ProtocolClient, enter, expect, post, takeName, test, texts, waitUntilJoined } from "./support";
import { expectAccessible } from "./accessible";

/** The visible focusable elements that cannot be scrolled into view, or are covered there. */
function unreachable(page: Page) {
  return page.evaluate(async () => {
    const selector = "a[href], button, input:not([type=hidden]), textarea, select, summary, [tabindex='0']";
    const bad: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>(selector)) {
      if (!element.checkVisibility({ visibilityProperty: true }) || (element as HTMLButtonElement).disabled) continue;
      if (element.closest(".skip")) continue;
      element.focus();
      element.scrollIntoView({ block: "nearest", inline: "nearest" });
      for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
      const box = element.getBoundingClientRect();
      const [x, y] = [
        (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2,
        (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2,
      ];
      const top = document.elementFromPoint(x, y);
      if (!top || !(element.contains(top) || top.contains(element)))
        bad.push(`${element.outerHTML.slice(0, 120)} is under ${top?.outerHTML.slice(0, 80)}`);
    }
    return bad;
  });
}

for (const viewport of [
  { width: 320, height: 256 },
  { width: 853, height: 240 },
  { width: 1280, height: 256 },
]) {
  test(`everything is readable and reachable at ${viewport.width} × ${viewport.height}`, async ({ person, server }) => {
    const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
    for (let n = 1; n <= 30; n++) await bob.post("garden", `message ${n}`);
    const page = await person({ viewport });
    const lines = async () => {
      const log = (await page.getByRole("log").boundingBox())!;
      return log.height / 24;
    };
    await page.goto("/");
    await page.waitForLoadState("networkidle");
    expect(await unreachable(page)).toEqual([]);
    await page.goto("/r/garden");
    await expect(page.getByText("You are here as a guest")).toBeAttached();
    expect(await lines()).toBeGreaterThanOrEqual(3);
    expect(await unreachable(page)).toEqual([]);
    await takeName(page, "Ann");
    expect(await lines()).toBeGreaterThanOrEqual(3);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
    await page.getByRole("button", { name: /^Call/ }).click();
    await page.getByRole("button", { name: "Join now" }).waitFor();
    await expect(page.getByText("Waiting for browser permission")).toHaveCount(0);
    expect(await unreachable(page)).toEqual([]);
    await page.getByRole("button", { name: "Join now" }).click();
    await page.getByRole("toolbar", { name: "Call controls" }).waitFor();
    expect(await lines()).toBeGreaterThanOrEqual(3);
    expect(await unreachable(page)).toEqual([]);
    await page.getByRole("button", { name: "More" }).click();
    expect(await unreachable(page)).toEqual([]);
    await expectAccessible(page);
  });
}

const focused = (page: Page) =>
  page.evaluate(() => document.activeElement?.id || document.activeElement?.tagName.toLowerCase());

test("focus never falls to the body while only the keyboard is used", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 120; n++) await bob.post("garden", `message ${n}`);
  await page.goto("/");
  await page.waitForLoadState("networkidle");
  await page.getByRole("textbox", { name: "Room" }).focus();
  await page.keyboard.type("garden");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "garden" })).toBeVisible();
  await expect.poll(() => focused(page)).toBe("text");
  // The form for the name goes away.
  await waitUntilJoined(page);
  await page.getByLabel("Your name").fill("Ann");
  await page.getByLabel("Your name").press("Enter");
  await expect(page.getByLabel("Your name")).toBeHidden();
  await expect.poll(() => focused(page)).toBe("text");
  // History, and the link that loads it, come and go.
  const log = page.getByRole("log");
  await log.evaluate((log) => (log.scrollTop = -log.scrollHeight));
  await expect(page.getByText("This is the beginning of garden.")).toBeAttached();
  await page.getByRole("link", { name: "All rooms" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => focused(page)).toBe("h1");
  await page.goBack();
  await expect.poll(() => focused(page)).toBe("text");
});

test("loaded history is not announced, and new messages are", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 120; n++) await bob.post("garden", `message ${n}`);
  await enter(page, "garden");
  const log = page.getByRole("log");
  await expect(log).toHaveAttribute("aria-live", "polite");
  await page.evaluate(() => {
    const log = document.querySelector("[role=log]")!;
    const announced: string[] = [];
    Object.assign(window, { announced });
    // What assistive technology is told: added nodes whose nearest `aria-live` is not off.
    new MutationObserver((changes) => {
      for (const node of changes.flatMap((change) => [...change.addedNodes])) {
        const element = node instanceof Element ? node : node.parentElement;
        if (
          element?.closest("[aria-live]")?.getAttribute("aria-live") === "polite" &&
          node.textContent?.includes("message")
        )
          announced.push(node.textContent);
      }
    }).observe(log, { childList: true, subtree: true });
  });
  const announced = () => page.evaluate(() => (window as any).announced as string[]);
  await log.evaluate((log) => (log.scrollTop = -log.scrollHeight));
  await expect(page.getByText("This is the beginning of garden.")).toBeAttached();
  await expect(texts(page)).toHaveCount(120);
  expect(await announced()).toEqual([]);
  await expect(log).toHaveAttribute("aria-live", "polite");
  await bob.post("garden", "a new message");
  await expect.poll(async () => (await announced()).length).toBe(1);
  for (let n = 1; n <= 30; n++) await bob.post("garden", `flood of message ${n}`);
  await expect(log).toHaveAttribute("aria-live", "off");
  await expect(page.getByText("Many messages are arriving")).toBeAttached();
  expect((await announced()).length).toBeLessThan(30);
});

test("own messages and toggles differ without colours", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "of Bob");
  await enter(page, "garden");
  await post(page, "of mine");
  await expect(texts(page)).toHaveCount(2);
  await page.emulateMedia({ forcedColors: "active" });
  const border = (index: number) =>
    texts(page)
      .nth(index)
      .evaluate((text) => getComputedStyle(text).borderInlineStartWidth);
  // The row of a message that was just sent is replaced once it is stored.
  await expect.poll(() => border(0)).toBe("0px");
  await expect.poll(() => border(1)).toBe("3px");
  await expectAccessible(page);
});
