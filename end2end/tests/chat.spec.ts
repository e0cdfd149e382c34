import type { Page } from "@playwright/test";
import {
  SERVER_GONE,
  ProtocolClient,
  enter,
  expect,
  hide,
  waitUntilJoined,
  memberNames,
  post,
  takeName,
  test,
  texts,
  write,
} from "./support";

test("two users exchange messages", async ({ page, person }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await expect(page.getByRole("log")).toContainText(/joined/);
  await expect(memberNames(page)).toHaveText(["Ann", "Bob"]);
  await post(page, "Hello Bob");
  await post(other, "Hello Ann");
  await post(page, "How are\nyou?");
  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["Hello Bob", "Hello Ann", "How are\nyou?"]);
    await expect(reader.getByRole("log").getByText("Sending")).toHaveCount(0);
  }
  await expect(page.locator(".message.own .text")).toHaveText(["Hello Bob", "How are\nyou?"]);
  await other.close();
  await expect(page.getByRole("log")).toContainText("Bob left");
  await expect(memberNames(page)).toHaveText(["Ann"]);
});

test("link to a room admits a guest, who can choose a name later", async ({ page, person }) => {
  const other = await person();
  await enter(other, "party", "Host");
  await page.goto("/r/party");
  await waitUntilJoined(page);
  await expect(page.getByText("You are here as a guest")).toBeVisible();
  await post(page, "am I a guest?");
  await expect(other.locator(".author").filter({ hasText: /^Anon\d+$/ })).toBeVisible();
  await takeName(page, "Guest of honour");
  await expect(page.getByText("You are here as a guest")).toBeHidden();
  await expect(other.getByRole("complementary")).toContainText("Guest of honour");
  await post(page, "that's me");
  await expect(other.locator(".author").last()).toHaveText("Guest of honour");
});

test("taken name is refused and the room opens with another name", async ({ page, person }) => {
  const other = await person();
  await enter(other, "one", "Ann");
  await enter(page, "two", "Ann");
  await page.goto("/r/one");
  await expect(page.getByText("That name is already taken")).toBeVisible();
  await takeName(page, "Anna");
  await waitUntilJoined(page);
  await expect(memberNames(other)).toHaveText(["Ann", "Anna"]);
});

test("reload keeps messages and name and is not announced", async ({ page, person }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await post(page, "one");
  await expect(texts(other)).toHaveText(["one"]);
  await page.reload();
  await waitUntilJoined(page);
  await expect(texts(page)).toHaveText(["one"]);
  await post(page, "two");
  await expect(texts(other)).toHaveText(["one", "two"]);
  await expect(page.getByRole("complementary")).toContainText("Ann");
  await other.waitForTimeout(3_500);
  await expect(other.getByText("left")).toHaveCount(0);
});

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`open pages recover after the server ends with ${signal} and restarts`, async ({
    page,
    person,
    server,
    expectedConsole,
  }) => {
    expectedConsole.push(SERVER_GONE);
    const other = await person();
    await enter(page, "garden", "Ann");
    await enter(other, "garden", "Bob");
    await post(page, "before");
    await expect(texts(other)).toHaveText(["before"]);
    await server.stop(signal);
    await expect(page.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ })).toBeVisible();
    await write(page, "typed while away 1");
    await write(page, "typed while away 2");
    await expect(page.getByRole("log").getByText("Sending")).toHaveCount(2);
    await server.start();
    await write(other, "I am back");
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

test("back and forward navigate between visited rooms", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("textbox", { name: "Room" }).fill("first");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "first" })).toBeVisible();
  await waitUntilJoined(page);
  await post(page, "in the first");
  await expect(texts(page)).toHaveText(["in the first"]);
  await page.getByRole("link", { name: "All rooms" }).click();
  await page.getByRole("textbox", { name: "Room" }).fill("second");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "second" })).toBeVisible();
  await waitUntilJoined(page);
  await expect(texts(page)).toHaveCount(0);
  await page.goBack();
  await expect(page.getByRole("heading", { name: "Noom" })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole("heading", { name: "first" })).toBeVisible();
  await expect(texts(page)).toHaveText(["in the first"]);
  await waitUntilJoined(page);
  await post(page, "and again");
  await expect(texts(page)).toHaveText(["in the first", "and again"]);
  await page.goForward();
  await page.goForward();
  await expect(page.getByRole("heading", { name: "second" })).toBeVisible();
});

test("Korean page opens a room with a Korean name", async ({ person }) => {
  const page = await person({ locale: "ko-KR" });
  await page.goto("/");
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.getByLabel("방 이름", { exact: true }).fill("  한국어   방 ");
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

test("markup in names and messages is shown as text", async ({ page, person }) => {
  const name = "<img src=x onerror=alert(1)>";
  const other = await person();
  await enter(page, "garden", name);
  await enter(other, "garden");
  await post(page, "<script>alert(1)</script> https://noom.example/?a=b&c");
  await expect(other.locator(".author")).toHaveText([name]);
  await expect(texts(other)).toHaveText(["<script>alert(1)</script> https://noom.example/?a=b&c"]);
  await expect(other.getByRole("link", { name: "https://noom.example/?a=b&c" })).toHaveAttribute("rel", /noopener/);
  await expect(other.locator("img")).toHaveCount(0);
  await other.reload();
  await expect(other.locator(".author")).toHaveText([name]);
});

test("invalid message shows an error and stays in the composer", async ({ page }) => {
  await enter(page, "garden");
  await write(page, "x".repeat(4_001));
  await expect(page.getByText("at most 4,000 characters")).toBeVisible();
  await expect(texts(page)).toHaveCount(0);
  await expect(page.getByRole("textbox", { name: "Message" })).toHaveValue(/^x{4001}$/);
});

test("refused message is marked and can be retried or discarded", async ({ page }) => {
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
  await post(page, "once more");
  const failed = page.getByRole("listitem").filter({ hasText: "Not sent" });
  await expect(failed).toContainText("once more");
  await post(page, "never mind");
  await expect(failed).toHaveCount(2);
  await failed.filter({ hasText: "never mind" }).getByRole("button", { name: "Discard" }).click();
  await failed.getByRole("button", { name: "Retry" }).click();
  await expect(failed).toHaveCount(0);
  await expect(texts(page)).toHaveText(["once more"]);
  await page.reload();
  await expect(texts(page)).toHaveText(["once more"]);
});

test("message sent while the browser reports to be offline is delivered", async ({ page, context, person }) => {
  const other = await person();
  await enter(other, "garden");
  await enter(page, "garden");
  // The report of the browser is wrong here: a server in the local network can be reached all the same.
  await page.evaluate(() => window.dispatchEvent(new Event("offline")));
  await post(page, "written offline");
  await expect(texts(other)).toHaveText(["written offline"]);
  await context.setOffline(true);
  await post(other, "said meanwhile");
  await context.setOffline(false);
  for (const reader of [page, other]) await expect(texts(reader)).toHaveText(["written offline", "said meanwhile"]);
  await expect(page.getByText("You seem to be offline")).toBeHidden();
});

test("new messages do not move the view of a reader further up", async ({ page, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 60; n++) await client.post("garden", `message ${n}\nwith\nlines`);
  await enter(page, "garden");
  const log = page.getByRole("log");
  await expect(page.getByText("message 60")).toBeInViewport();
  await client.post("garden", "seen at once");
  await expect(page.getByText("seen at once")).toBeInViewport();

  await log.hover();
  await page.mouse.wheel(0, -900);
  await page.waitForTimeout(300);
  const top = (await texts(page).nth(40).boundingBox())!.y;
  for (let n = 1; n <= 3; n++) await client.post("garden", `below ${n}`);
  await expect(page.getByRole("button", { name: "3 new messages" })).toBeVisible();
  // The page corrects the scroll position before the next paint; the test may measure earlier.
  await expect.poll(async () => Math.abs((await texts(page).nth(40).boundingBox())!.y - top)).toBeLessThan(2);
  await page.getByRole("button", { name: "3 new messages" }).click();
  await expect(page.getByText("below 3")).toBeInViewport();
  await expect(page.getByRole("button", { name: /new message/ })).toHaveCount(0);
  await log.hover();
  await page.mouse.wheel(0, -900);
  await page.waitForTimeout(300);
  await post(page, "my own message");
  await expect(page.getByText("my own message")).toBeInViewport();
});

test("scroll anchor holds with any row at the top", async ({ page, server }) => {
  const [ann, bob] = [
    await ProtocolClient.inRoom(server, "garden", "Ann"),
    await ProtocolClient.inRoom(server, "garden", "Bob"),
  ];
  // Fewer messages than a chunk holds, each with a margin above.
  for (let n = 1; n <= 15; n++) {
    await ann.post("garden", `question ${n}\nwith\nlines`);
    await bob.post("garden", `answer ${n}\nwith\nlines`);
  }
  await enter(page, "garden");
  await expect(page.getByText("answer 15")).toBeInViewport();
  const log = page.getByRole("log");
  const read = texts(page).nth(12);
  // At several positions, so that some have a margin at the top.
  for (let n = 1; n <= 6; n++) {
    await log.evaluate((log, n) => (log.scrollTop = -500 - 7 * n), n);
    await page.waitForTimeout(100);
    const top = (await read.boundingBox())!.y;
    await (n % 2 ? ann : bob).post("garden", `below ${n}`);
    await expect(page.getByText(`below ${n}`)).toBeAttached();
    await expect.poll(async () => Math.abs((await read.boundingBox())!.y - top)).toBeLessThan(2);
  }
});

/** The numbers of the messages in the log, in order. */
function numbers(page: Page): Promise<number[]> {
  return page.getByRole("log").evaluate((log) => {
    const all = [...log.querySelectorAll(".message:not(.waiting) .text")];
    return all.map((text) => Number(text.textContent!.replace("message ", "")));
  });
}

test("scrolling through 5,000 messages keeps their order and never jumps, and lets go at the end", async ({
  page,
  server,
}) => {
  test.setTimeout(240_000);
  const client = await ProtocolClient.inRoom(server, "long", "Bob");
  for (let n = 0; n < 5_000; n += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, m) => client.post("long", `message ${n + m + 1}`)));
  }
  await enter(page, "long");
  const log = page.getByRole("log");
  const seen = new Set<number>();
  /** What the log holds is in order, without a hole. */
  const check = async () => {
    const held = await numbers(page);
    held.forEach((number) => seen.add(number));
    expect(held.filter((number, index) => index > 0 && number !== held[index - 1] + 1)).toEqual([]);
    expect(held.at(-1)).toBe(5_000);
    return held[0];
  };
  let oldest = await check();
  while (oldest > 1) {
    // The first visible message must not move when older ones are added, or others are dropped below.
    const before = await log.evaluate(async (log) => {
      const goTo = (above: number) => (log.scrollTop = -(log.scrollHeight - log.clientHeight) + above);
      const nextFrame = () => new Promise(requestAnimationFrame);
      // Chunks are rendered when they come near. Content that a jump shows for the first time has no anchor yet.
      goTo(1_600);
      for (let n = 0; n < 10; n++) await nextFrame();
      goTo(200);
      const all = [...log.querySelectorAll<HTMLElement>(".message:not(.waiting) .text")];
      const top = log.getBoundingClientRect().top;
      const first = all.find((text) => text.getBoundingClientRect().top >= top)!;
      return { text: first.textContent!, y: first.getBoundingClientRect().y };
    });
    await expect.poll(async () => (await numbers(page))[0]).toBeLessThan(oldest);
    oldest = await check();
    const y = await texts(page)
      .getByText(before.text, { exact: true })
      .evaluate((text) => text.getBoundingClientRect().y);
    expect(Math.abs(y - before.y)).toBeLessThan(2);
  }
  await expect(page.getByText("This is the beginning of long.")).toBeAttached();
  expect(seen.size).toBe(5_000);
  // And down again, over what was dropped.
  seen.clear();
  const isAtEnd = () => log.evaluate((log) => Math.abs(log.scrollTop) < 2);
  while (!(await isAtEnd())) {
    await log.evaluate(async (log) => {
      for (let n = 0; n < 8; n++) {
        // A gap is loaded before the reader can pass it.
        const gap = document.querySelector("[data-missing-before]");
        if (gap && gap.getBoundingClientRect().top < 1_500) break;
        log.scrollTop += 400;
        await new Promise(requestAnimationFrame);
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    });
    (await numbers(page)).forEach((number) => seen.add(number));
  }
  expect(seen.size).toBe(5_000);
  await check();
  // The next message of the room makes the page let go of what is far above.
  await client.post("long", "message 5001");
  await expect.poll(async () => (await numbers(page)).length).toBeLessThan(3_100);
  await post(page, "still here");
  await expect(page.getByText("still here")).toBeInViewport();
});

test("reader further up is not disturbed by thousands of messages", async ({ page, server }) => {
  test.setTimeout(240_000);
  const client = await ProtocolClient.inRoom(server, "busy", "Bob");
  const post100 = (from: number) =>
    Promise.all(Array.from({ length: 100 }, (_, m) => client.post("busy", `message ${from + m}`)));
  await post100(1);
  await enter(page, "busy");
  const log = page.getByRole("log");
  await log.hover();
  await page.mouse.wheel(0, -500);
  await page.waitForTimeout(300);
  const read = page.getByText("message 85", { exact: true });
  const top = (await read.boundingBox())!.y;
  for (let from = 101; from < 4_101; from += 100) await post100(from);
  await expect(page.getByText("message 4100", { exact: true })).toBeAttached({ timeout: 60_000 });
  await expect.poll(async () => Math.abs((await read.boundingBox())!.y - top)).toBeLessThan(2);
  await page.getByRole("button", { name: /new messages/ }).click();
  await expect(page.getByText("message 4100", { exact: true })).toBeInViewport();
  await client.post("busy", "message 4101");
  await expect(page.getByText("message 4101", { exact: true })).toBeInViewport();
  expect((await numbers(page)).length).toBeLessThan(3_100);
});

test("title counts messages that arrive while the tab is hidden", async ({ page, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  await enter(page, "garden");
  await expect(page).toHaveTitle("garden · Noom");
  await hide(page, true);
  await client.post("garden", "one");
  await client.post("garden", "two");
  await expect(page).toHaveTitle("(2) garden · Noom");
  await hide(page, false);
  await expect(page).toHaveTitle("garden · Noom");
});

test("list of rooms updates live", async ({ page, server }) => {
  await page.goto("/");
  await expect(page.getByText("Nobody is in a room right now.")).toBeVisible();
  const ann = await ProtocolClient.inRoom(server, "garden", "Ann");
  await expect(page.getByRole("link", { name: "garden 1 person" })).toBeVisible();
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await page.getByRole("link", { name: "garden 2 people" }).click();
  await waitUntilJoined(page);
  await page.goBack();
  await expect(page.getByRole("link", { name: /garden/ })).toBeVisible();
  ann.close();
  bob.close();
  await expect(page.getByText("Nobody is in a room right now.")).toBeVisible();
});

test("copy button copies the link to the room", async ({ page, context, server }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await enter(page, "book club");
  await page.getByRole("button", { name: "Copy link" }).click();
  await expect(page.getByRole("button", { name: "Link copied" })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`${server.url}/r/book%20club`);
});

test("language choice applies at once and survives a reload", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(page.getByRole("button", { name: "들어가기" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.reload();
  await expect(page.getByRole("button", { name: "들어가기" })).toBeVisible();
  await page.goto("/r/garden");
  await expect(page.getByRole("heading", { name: "참여자" })).toBeVisible();
});

test("times and dates are in the reader's time zone", async ({ page, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  const { at } = await client.post("garden", "hello");
  await enter(page, "garden");
  const seoul = new Intl.DateTimeFormat("sv-SE", {
    timeZone: "Asia/Seoul",
    dateStyle: "short",
    timeStyle: "medium",
  }).format(at);
  await expect(page.locator("time")).toHaveAttribute("title", seoul);
  await expect(page.locator("time")).toHaveText(seoul.slice(11, 16));
  await expect(page.locator("time")).toHaveAttribute("datetime", `${new Date(at).toISOString().slice(0, 19)}Z`);
  await expect(page.locator(".day")).toContainText(seoul.slice(0, 4));
});
