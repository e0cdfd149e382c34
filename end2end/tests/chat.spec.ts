import { SERVER_GONE, Somebody, enter, expect, isIn, people, say, takeName, test, texts } from "./support";

test("two people talk", async ({ page, person }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await expect(page.getByRole("log")).toContainText(/came in/);
  await expect(people(page)).toHaveText(["Ann", "Bob"]);
  await say(page, "Hello Bob");
  await say(other, "Hello Ann");
  await say(page, "How are\nyou?");
  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["Hello Bob", "Hello Ann", "How are\nyou?"]);
    await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
  }
  await expect(page.locator(".message.own .text")).toHaveText(["Hello Bob", "How are\nyou?"]);
  await other.close();
  await expect(page.getByRole("log")).toContainText("Bob left");
  await expect(people(page)).toHaveText(["Ann"]);
});

test("a link to a room is enough: one is in as a guest and may take a name later", async ({ page, person }) => {
  const other = await person();
  await enter(other, "party", "Host");
  await page.goto("/r/party");
  await isIn(page);
  await expect(page.getByText("You are here as a guest")).toBeVisible();
  await say(page, "who am I?");
  await expect(other.locator(".author").filter({ hasText: /^Anon\d+$/ })).toBeVisible();
  await takeName(page, "Guest of honour");
  await expect(page.getByText("You are here as a guest")).toBeHidden();
  await expect(other.getByRole("complementary")).toContainText("Guest of honour");
  await say(page, "that's me");
  await expect(other.locator(".author").last()).toHaveText("Guest of honour");
});

test("a name that is taken is said so, and the room opens with another", async ({ page, person }) => {
  const other = await person();
  await enter(other, "one", "Ann");
  await enter(page, "two", "Ann");
  await page.goto("/r/one");
  await expect(page.getByText("Somebody here has that name")).toBeVisible();
  await takeName(page, "Anna");
  await isIn(page);
  await expect(people(other)).toHaveText(["Ann", "Anna"]);
});

test("a reload keeps everything and is announced to nobody", async ({ page, person }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await say(page, "one");
  await expect(texts(other)).toHaveText(["one"]);
  await page.reload();
  await isIn(page);
  await expect(texts(page)).toHaveText(["one"]);
  await say(page, "two");
  await expect(texts(other)).toHaveText(["one", "two"]);
  await expect(page.getByRole("complementary")).toContainText("Ann");
  await other.waitForTimeout(3_500);
  await expect(other.getByText("left")).toHaveCount(0);
});

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`the server ends with ${signal} and comes back while both pages stay open`, async ({ page, person, server, expectedConsole }) => {
    expectedConsole.push(SERVER_GONE);
    const other = await person();
    await enter(page, "garden", "Ann");
    await enter(other, "garden", "Bob");
    await say(page, "before");
    await expect(texts(other)).toHaveText(["before"]);
    await server.stop(signal);
    await expect(page.getByRole("status").filter({ hasText: /Trying again|Back in|Connecting/ })).toBeVisible();
    await say(page, "typed while away 1");
    await say(page, "typed while away 2");
    await expect(page.getByRole("log").getByText("Sending")).toHaveCount(2);
    await server.start();
    await say(other, "I am back");
    for (const reader of [page, other]) {
      await expect(texts(reader)).toHaveCount(4, { timeout: 45_000 });
      await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
    }
    const seen = await texts(page).allTextContents();
    expect(await texts(other).allTextContents()).toEqual(seen);
    expect(seen.indexOf("typed while away 1")).toBeLessThan(seen.indexOf("typed while away 2"));
    expect(new Set(seen).size).toBe(4);
    await expect(page.getByRole("complementary")).toContainText("Bob");
  });
}

test("back and forward go between the rooms that were visited", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("textbox", { name: "Room" }).fill("first");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "first" })).toBeVisible();
  await isIn(page);
  await say(page, "in the first");
  await expect(texts(page)).toHaveText(["in the first"]);
  await page.getByRole("link", { name: "All rooms" }).click();
  await page.getByRole("textbox", { name: "Room" }).fill("second");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "second" })).toBeVisible();
  await isIn(page);
  await expect(texts(page)).toHaveCount(0);
  await page.goBack();
  await expect(page.getByRole("heading", { name: "Noom" })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole("heading", { name: "first" })).toBeVisible();
  await expect(texts(page)).toHaveText(["in the first"]);
  await isIn(page);
  await say(page, "and again");
  await expect(texts(page)).toHaveText(["in the first", "and again"]);
  await page.goForward();
  await page.goForward();
  await expect(page.getByRole("heading", { name: "second" })).toBeVisible();
});

test("a room with a Korean name, in Korean", async ({ person }) => {
  const page = await person({ locale: "ko-KR" });
  await page.goto("/");
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.getByLabel("방", { exact: true }).fill("  한국어   방 ");
  await page.getByRole("button", { name: "들어가기" }).click();
  await expect(page.getByRole("heading", { name: "한국어 방" })).toBeVisible();
  await expect(page).toHaveURL(/\/r\/%ED%95%9C%EA%B5%AD%EC%96%B4%20%EB%B0%A9$/);
  await page.getByRole("textbox", { name: "메시지" }).fill("안녕하세요");
  await page.getByRole("textbox", { name: "메시지" }).press("Enter");
  await expect(texts(page)).toHaveText(["안녕하세요"]);
  await page.reload();
  await expect(page.getByRole("heading", { name: "한국어 방" })).toBeVisible();
  await expect(texts(page)).toHaveText(["안녕하세요"]);
});

test("while a syllable is composed, Enter does not send", async ({ page, context }) => {
  await enter(page, "garden");
  const composer = page.getByRole("textbox", { name: "Message" });
  await composer.focus();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Input.imeSetComposition", { text: "한", selectionStart: 1, selectionEnd: 1 });
  await composer.dispatchEvent("keydown", { key: "Enter", keyCode: 229, isComposing: true, bubbles: true });
  await expect(composer).toHaveValue("한");
  await expect(texts(page)).toHaveCount(0);
  await devtools.send("Input.insertText", { text: "한" });
  await page.keyboard.type("글");
  await composer.press("Enter");
  await expect(texts(page)).toHaveText(["한글"]);
  await composer.pressSequentially("a");
  await composer.press("Shift+Enter");
  await composer.pressSequentially("b");
  await expect(composer).toHaveValue("a\nb");
});

test("a nickname that is markup is text", async ({ page, person }) => {
  const name = "<img src=x onerror=alert(1)>";
  const other = await person();
  await enter(page, "garden", name);
  await enter(other, "garden");
  await say(page, "<script>alert(1)</script> https://noom.example/?a=b&c");
  await expect(other.locator(".author")).toHaveText([name]);
  await expect(texts(other)).toHaveText(["<script>alert(1)</script> https://noom.example/?a=b&c"]);
  await expect(other.getByRole("link", { name: "https://noom.example/?a=b&c" })).toHaveAttribute("rel", /noopener/);
  await expect(other.locator("img")).toHaveCount(0);
  await other.reload();
  await expect(other.locator(".author")).toHaveText([name]);
});

test("what cannot be a message is said, and stays where it was typed", async ({ page }) => {
  await enter(page, "garden");
  await say(page, "x".repeat(4_001));
  await expect(page.getByText("at most 4,000 characters")).toBeVisible();
  await expect(texts(page)).toHaveCount(0);
  await expect(page.getByRole("textbox", { name: "Message" })).toHaveValue(/^x{4001}$/);
});

test("a message that was refused is marked, and can be sent again or dropped", async ({ page }) => {
  let refusals = 2;
  await page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const frame = JSON.parse(text.toString());
      if (frame.type !== "new_message" || refusals-- <= 0) return server.send(text);
      const payload = { code: "TEXT_INVALID", message: "" };
      socket.send(JSON.stringify({ type: "error", id: frame.id, payload }));
    });
  });
  await enter(page, "garden");
  await say(page, "once more");
  const failed = page.getByRole("listitem").filter({ hasText: "Not sent" });
  await expect(failed).toContainText("once more");
  await say(page, "never mind");
  await expect(failed).toHaveCount(2);
  await failed.filter({ hasText: "never mind" }).getByRole("button", { name: "Discard" }).click();
  await failed.getByRole("button", { name: "Retry" }).click();
  await expect(failed).toHaveCount(0);
  await expect(texts(page)).toHaveText(["once more"]);
  await page.reload();
  await expect(texts(page)).toHaveText(["once more"]);
});

test("without a network the page says so, and sends when there is one again", async ({ page, context, person }) => {
  const other = await person();
  await enter(other, "garden");
  await enter(page, "garden");
  await context.setOffline(true);
  await expect(page.getByText("You are offline")).toBeVisible();
  await say(page, "written offline");
  await say(other, "said meanwhile");
  await expect(page.getByRole("log").getByText("Sending")).toBeVisible();
  await context.setOffline(false);
  await expect(texts(page)).toHaveText(["said meanwhile", "written offline"]);
  await expect(texts(other)).toHaveText(["said meanwhile", "written offline"]);
  await expect(page.getByText("You are offline")).toBeHidden();
});

test("new messages wait below while one reads above", async ({ page, server }) => {
  const somebody = await Somebody.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 60; n++) await somebody.say("garden", `message ${n}\nwith\nlines`);
  await enter(page, "garden");
  const log = page.getByRole("log");
  await expect(page.getByText("message 60")).toBeInViewport();
  await somebody.say("garden", "seen at once");
  await expect(page.getByText("seen at once")).toBeInViewport();

  await log.hover();
  await page.mouse.wheel(0, -900);
  await page.waitForTimeout(300);
  const top = (await texts(page).nth(40).boundingBox())!.y;
  for (let n = 1; n <= 3; n++) await somebody.say("garden", `below ${n}`);
  await expect(page.getByRole("button", { name: "3 new messages" })).toBeVisible();
  // The place is kept before the next picture, which a test may be faster than.
  await expect.poll(async () => Math.abs((await texts(page).nth(40).boundingBox())!.y - top)).toBeLessThan(2);
  await page.getByRole("button", { name: "3 new messages" }).click();
  await expect(page.getByText("below 3")).toBeInViewport();
  await expect(page.getByRole("button", { name: /new message/ })).toHaveCount(0);
  await log.hover();
  await page.mouse.wheel(0, -900);
  await page.waitForTimeout(300);
  await say(page, "my own word");
  await expect(page.getByText("my own word")).toBeInViewport();
});

test("what one reads keeps its place, whatever stands at the top of it", async ({ page, server }) => {
  const [ann, bob] = [await Somebody.inRoom(server, "garden", "Ann"), await Somebody.inRoom(server, "garden", "Bob")];
  // Fewer than are drawn together, and a margin above each.
  for (let n = 1; n <= 15; n++) {
    await ann.say("garden", `question ${n}\nwith\nlines`);
    await bob.say("garden", `answer ${n}\nwith\nlines`);
  }
  await enter(page, "garden");
  await expect(page.getByText("answer 15")).toBeInViewport();
  const log = page.getByRole("log");
  const read = texts(page).nth(12);
  // At several heights, so that a margin is at the top in some.
  for (let n = 1; n <= 6; n++) {
    await log.evaluate((log, n) => (log.scrollTop = -500 - 7 * n), n);
    await page.waitForTimeout(100);
    const top = (await read.boundingBox())!.y;
    await (n % 2 ? ann : bob).say("garden", `below ${n}`);
    await expect(page.getByText(`below ${n}`)).toBeAttached();
    await expect.poll(async () => Math.abs((await read.boundingBox())!.y - top)).toBeLessThan(2);
  }
});

test("5,000 messages are scrolled through, in order and without a jump", async ({ page, server }) => {
  test.setTimeout(180_000);
  const somebody = await Somebody.inRoom(server, "long", "Bob");
  for (let n = 0; n < 5_000; n += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, m) => somebody.say("long", `message ${n + m + 1}`)));
  }
  await enter(page, "long");
  const log = page.getByRole("log");
  let shown = await texts(page).count();
  expect(shown).toBeGreaterThanOrEqual(50);
  while (shown < 5_000) {
    // Where the oldest message that can be seen stands now, it stands after older ones came.
    const before = await log.evaluate(async (log) => {
      const goTo = (above: number) => (log.scrollTop = -(log.scrollHeight - log.clientHeight) + above);
      const picture = () => new Promise(requestAnimationFrame);
      // What one comes near is drawn. What a leap shows for the first time has no place to keep.
      goTo(1_600);
      for (let n = 0; n < 10; n++) await picture();
      goTo(200);
      const all = [...log.querySelectorAll<HTMLElement>(".message:not(.waiting) .text")];
      const top = log.getBoundingClientRect().top;
      const seen = all.find((text) => text.getBoundingClientRect().top >= top)!;
      return { count: all.length, text: seen.textContent!, y: seen.getBoundingClientRect().y };
    });
    shown = before.count;
    if (shown === 5_000) break;
    await expect.poll(() => texts(page).count()).toBeGreaterThan(shown);
    shown = await texts(page).count();
    const y = await texts(page).getByText(before.text, { exact: true }).evaluate((text) => text.getBoundingClientRect().y);
    expect(Math.abs(y - before.y)).toBeLessThan(2);
  }
  await expect(page.getByText("This is the beginning of long.")).toBeAttached();
  const all = await texts(page).allTextContents();
  expect(all).toEqual(Array.from({ length: 5_000 }, (_, n) => `message ${n + 1}`));
  await say(page, "still here");
  await expect(page.getByText("still here")).toBeInViewport();
});

test("messages that come while the tab is hidden are counted in its title", async ({ page, server }) => {
  const somebody = await Somebody.inRoom(server, "garden", "Bob");
  await enter(page, "garden");
  await expect(page).toHaveTitle("garden · Noom");
  const hide = (hidden: boolean) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
    }, hidden);
  await hide(true);
  await somebody.say("garden", "one");
  await somebody.say("garden", "two");
  await expect(page).toHaveTitle("(2) garden · Noom");
  await hide(false);
  await expect(page).toHaveTitle("garden · Noom");
});

test("the list of rooms is alive", async ({ page, server }) => {
  await page.goto("/");
  await expect(page.getByText("Nobody is in a room right now.")).toBeVisible();
  const ann = await Somebody.inRoom(server, "garden", "Ann");
  await expect(page.getByRole("link", { name: "garden 1 person" })).toBeVisible();
  const bob = await Somebody.inRoom(server, "garden", "Bob");
  await page.getByRole("link", { name: "garden 2 people" }).click();
  await isIn(page);
  await page.goBack();
  await expect(page.getByRole("link", { name: /garden/ })).toBeVisible();
  ann.close();
  bob.close();
  await expect(page.getByText("Nobody is in a room right now.")).toBeVisible();
});

test("the link to a room can be copied", async ({ page, context, server }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await enter(page, "book club");
  await page.getByRole("button", { name: "Copy link" }).click();
  await expect(page.getByRole("button", { name: "Link copied" })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`${server.url}/r/book%20club`);
});

test("another language is there at once, and remembered", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(page.getByRole("button", { name: "들어가기" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.reload();
  await expect(page.getByRole("button", { name: "들어가기" })).toBeVisible();
  await page.goto("/r/garden");
  await expect(page.getByRole("heading", { name: "함께 있는 사람" })).toBeVisible();
});

test("times and days are the reader's", async ({ page, server }) => {
  const somebody = await Somebody.inRoom(server, "garden", "Bob");
  const { at } = await somebody.say("garden", "hello");
  await enter(page, "garden");
  const seoul = new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Seoul", dateStyle: "short", timeStyle: "medium" }).format(at);
  await expect(page.locator("time")).toHaveAttribute("title", seoul);
  await expect(page.locator("time")).toHaveText(seoul.slice(11, 16));
  await expect(page.locator("time")).toHaveAttribute("datetime", new Date(at).toISOString().slice(0, 19) + "Z");
  await expect(page.locator(".day")).toContainText(seoul.slice(0, 4));
});
