import { request } from "node:http";
import { expectAccessible } from "./accessible";
import { ProtocolClient, enter, expect, waitUntilJoined, test, texts } from "./support";

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [360, 1440]) {
    test(`pages are accessible and fit the screen: ${colorScheme}, ${width} px`, async ({
      person,
      server,
      expectedConsole,
    }) => {
      // The last page is an error page.
      expectedConsole.push(/status of 400/);
      const client = await ProtocolClient.inRoom(server, "garden", "Bob, with a long name to fit in");
      await client.post("garden", `hello https://noom.example/${"long".repeat(40)}`);
      const page = await person({ colorScheme, viewport: { width, height: 740 } });
      await page.goto("/");
      await expect(page.getByRole("link", { name: /garden/ })).toBeVisible();
      await expectAccessible(page);
      await enter(page, "garden");
      await expectAccessible(page);
      await page.goto("/r/a%2Fb");
      await expectAccessible(page);
      for (const path of ["/", "/r/garden"]) {
        await page.goto(path);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      }
    });
  }
}

test("keyboard alone is enough to set a name, enter and post", async ({ page }) => {
  await page.goto("/");
  // Before hydration the form would still post: wait until the page is interactive.
  await page.waitForLoadState("networkidle");
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Your name")).toBeFocused();
  await page.keyboard.type("Ann");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Saved")).toBeVisible();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("textbox", { name: "Room" })).toBeFocused();
  await page.keyboard.type("garden");
  await page.keyboard.press("Enter");
  await waitUntilJoined(page);
  await page.getByRole("textbox", { name: "Message" }).focus();
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  await expect(texts(page)).toHaveText(["hello"]);
  await expect(page.getByRole("textbox", { name: "Message" })).toBeFocused();
});

test("page without JavaScript can set a name, enter, post and switch the language", async ({ person }) => {
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/");
  await page.getByLabel("Your name").fill("admin");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("That name is reserved")).toBeVisible();
  await page.getByLabel("Your name").fill("Ann");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel("Your name")).toHaveValue("Ann");
  await page.getByRole("textbox", { name: "Room" }).fill("한국어 방");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "한국어 방" })).toBeVisible();
  await page.getByRole("textbox", { name: "Message" }).fill("without script\nin two lines");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(texts(page)).toHaveText(["without script\nin two lines"]);
  await expect(page.locator(".author")).toHaveText(["Ann"]);
  await expect(page.getByRole("button", { name: "Copy link" })).toBeHidden();
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(page.getByRole("button", { name: "보내기" })).toBeVisible();
  await expect(texts(page)).toHaveText(["without script\nin two lines"]);
});

test("message field takes the width that the buttons leave, with and without JavaScript", async ({ person }) => {
  for (const javaScriptEnabled of [true, false]) {
    const page = await person({ javaScriptEnabled, viewport: { width: 1440, height: 800 } });
    await page.goto("/r/garden");
    if (javaScriptEnabled) await waitUntilJoined(page);
    const [field, send] = [page.getByRole("textbox", { name: "Message" }), page.getByRole("button", { name: "Send" })];
    const [wide, narrow] = [(await field.boundingBox())!, (await send.boundingBox())!];
    expect(wide.width).toBeGreaterThan(4 * narrow.width);
    expect(narrow.x).toBeGreaterThanOrEqual(wide.x + wide.width);
  }
});

test("page without JavaScript shows a refused text as it was typed", async ({ person }) => {
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  const field = page.getByRole("textbox", { name: "Message" });
  const text = `\n50%25 off, 100%2541, %41 %FF +&=# </textarea>\n${"long ".repeat(1_000)}`;
  await field.fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByText("Messages can have at most 4,000 characters")).toBeVisible();
  await expect(field).toHaveValue(text);
  expect(page.url()).not.toContain("long");
  await field.fill("short");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(texts(page)).toHaveText(["short"]);
  await expect(field).toHaveValue("");
});

test("page without JavaScript links to older messages", async ({ person, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 120; n++) await client.post("garden", `message ${n}`);
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await expect(page.getByText("message 120", { exact: true })).toBeInViewport();
  await page.getByRole("link", { name: "Show older messages" }).click();
  await expect(texts(page).first()).toHaveText("message 21");
  await expect(texts(page).last()).toHaveText("message 70");
});

test("hydration causes no layout shift", async ({ person, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 1; n <= 60; n++) await client.post("garden", `message ${n}`);
  for (const viewport of [
    { width: 360, height: 740 },
    { width: 1440, height: 900 },
  ]) {
    const page = await person({ viewport });
    for (const path of ["/", "/r/garden"]) {
      await page.addInitScript(() => {
        (window as any).shifts = [];
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries() as any[])
            (window as any).shifts.push([
              entry.value,
              entry.sources?.map((source: any) => source.node?.className ?? source.node?.nodeName),
            ]);
        }).observe({ type: "layout-shift", buffered: true });
      });
      await page.goto(path);
      if (path !== "/") await waitUntilJoined(page);
      await page.waitForTimeout(1_500);
      const shifts: [number, unknown][] = await page.evaluate(() => (window as any).shifts);
      const sum = shifts.reduce((sum, [value]) => sum + value, 0);
      expect(sum, `${path} at ${viewport.width}: ${JSON.stringify(shifts)}`).toBeLessThan(0.001);
    }
  }
});

test("site files are compressed and not sent again while unchanged", async ({ server }) => {
  const get = (path: string, headers: Record<string, string>) =>
    new Promise<{ status: number; headers: Record<string, any>; bytes: number }>((resolve, reject) => {
      request(server.url + path, { headers }, (response) => {
        let bytes = 0;
        response.on("data", (chunk) => (bytes += chunk.length));
        response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, bytes }));
      })
        .on("error", reject)
        .end();
    });
  for (const [file, type] of [
    ["noom.js", /javascript/],
    ["noom.wasm", /wasm/],
    ["noom.css", /css/],
  ] as const) {
    const plain = await get(`/pkg/${file}`, {});
    expect(plain.status).toBe(200);
    for (const encoding of ["br", "gzip"]) {
      const packed = await get(`/pkg/${file}`, { "accept-encoding": encoding });
      expect(packed.headers["content-encoding"]).toBe(encoding);
      expect(packed.headers["content-type"]).toMatch(type);
      expect(packed.bytes).toBeLessThan(plain.bytes);
      expect(packed.headers.vary).toMatch(/accept-encoding/i);
      const again = await get(`/pkg/${file}`, {
        "accept-encoding": encoding,
        "if-modified-since": packed.headers["last-modified"],
      });
      expect(again.status).toBe(304);
      expect(again.bytes).toBe(0);
    }
  }
});

test("messages are painted before the program is loaded", async ({ page, server }) => {
  const client = await ProtocolClient.inRoom(server, "garden", "Bob");
  await client.post("garden", "hello");
  let deliver = () => {};
  const delivery = new Promise<void>((resolve) => (deliver = resolve));
  await page.route(/\.wasm$/, async (route) => {
    await delivery;
    await route.continue();
  });
  await page.goto("/r/garden", { waitUntil: "commit" });
  await expect(texts(page)).toHaveText(["hello"]);
  const painted = () => page.evaluate(() => performance.getEntriesByName("first-contentful-paint").length);
  await expect.poll(painted).toBe(1);
  await expect(page.locator(".members .you")).toHaveCount(0);
  deliver();
  await waitUntilJoined(page);
});

test("program is preloaded, fetched once and cached", async ({ page }) => {
  const fetched: string[] = [];
  page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  const entries = () =>
    page.evaluate(() =>
      (performance.getEntriesByType("resource") as PerformanceResourceTiming[])
        .filter((entry) => /\.(css|js|wasm)$/.test(entry.name))
        .map(({ name, transferSize }) => ({ name: new URL(name).pathname, transferSize })),
    );
  await enter(page, "garden");
  const program = fetched.filter((path) => /\.(css|js|wasm)$/.test(path));
  expect(program.length).toBeGreaterThan(2);
  expect(program).toEqual([...new Set(program)]);
  for (const path of program) expect(path).toMatch(/^\/static\/[0-9a-f]{32}\/pkg\//);
  // The head lists all files of the program, so that they load in parallel.
  const preloaded = await page
    .locator("link[rel=modulepreload][nonce], link[rel=preload], link[rel=stylesheet]")
    .evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  expect(preloaded).toEqual(expect.arrayContaining(program));

  await enter(page, "garden");
  const again = await entries();
  expect(again.length).toBeGreaterThanOrEqual(program.length);
  expect(again.filter(({ transferSize }) => transferSize !== 0)).toEqual([]);
});
