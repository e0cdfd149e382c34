// Files and pictures in messages.
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { expectAccessible } from "./accessible";
import { SERVER_GONE, enter, expect, post, test, texts, waitUntilJoined, write } from "./support";
import { TcpProxy } from "./tcp-proxy";

const field = (page: Page) => page.getByRole("textbox", { name: "Message" });
const choose = (page: Page) => page.locator("input[type=file]");
const tray = (page: Page) => page.locator(".tray li");
const send = (page: Page) => page.getByRole("button", { name: "Send" }).click();
const pictures = (page: Page) => page.getByRole("log").locator(".picture img");

/** A PNG of one colour. */
function png(width: number, height: number) {
  const chunk = (kind: string, data: Buffer) => {
    const named = Buffer.concat([Buffer.from(kind), data]);
    let crc = 0xffffffff;
    for (const byte of named) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    const frame = Buffer.alloc(named.length + 8);
    frame.writeUInt32BE(data.length, 0);
    named.copy(frame, 4);
    frame.writeUInt32BE(~crc >>> 0, named.length + 4);
    return frame;
  };
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, 0x5b)]);
  const pixels = deflateSync(Buffer.concat(Array(height).fill(row)));
  const mark = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([mark, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

const picture = (name: string) => ({ name, mimeType: "image/png", buffer: png(1200, 800) });
const text = (name: string) => ({ name, mimeType: "text/plain", buffer: Buffer.from("hello") });

/** Drops or pastes a file, as a browser would. */
async function deliver(page: Page, kind: "drop" | "paste", name: string, content: Buffer) {
  await page.evaluate(
    ([kind, name, content]) => {
      const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type: "image/png" }));
      const options = { bubbles: true, cancelable: true };
      const event =
        kind === "drop"
          ? new DragEvent("drop", { ...options, dataTransfer: transfer })
          : new ClipboardEvent("paste", { ...options, clipboardData: transfer });
      document.querySelector(kind === "drop" ? ".log" : "textarea")!.dispatchEvent(event);
    },
    [kind, name, content.toString("base64")] as const,
  );
}

test("pictures that are chosen, dropped and pasted appear for both people, and after a reload", async ({
  page,
  person,
}) => {
  await enter(page, "garden", "Ann");
  const other = await person();
  await enter(other, "garden", "Bob");

  await choose(page).setInputFiles([picture("beach.png"), text("notes.txt")]);
  await expect(tray(page)).toHaveCount(2);
  await expect(tray(page).locator(".status")).toHaveText(["Uploaded", "Uploaded"]);
  await expectAccessible(page);
  await post(page, "from the beach");
  await expect(tray(page)).toHaveCount(0);
  await deliver(page, "drop", "dropped.png", png(600, 900));
  await expect(tray(page).locator(".status")).toHaveText(["Uploaded"]);
  await deliver(page, "paste", "image.png", png(50, 40));
  await expect(tray(page)).toHaveCount(2);
  // Sent when both are uploaded, without a text.
  await send(page);

  for (const reader of [page, other]) {
    await expect(texts(reader)).toHaveText(["from the beach"]);
    await expect(pictures(reader)).toHaveCount(3);
    for (const [index, [name, width, height]] of (
      [
        ["beach.png", 320, 213],
        ["dropped.png", 213, 320],
        ["image.png", 50, 40],
      ] as const
    ).entries()) {
      const image = pictures(reader).nth(index);
      await expect(image).toHaveAttribute("alt", name);
      await image.scrollIntoViewIfNeeded();
      await expect.poll(() => image.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
      const box = (await image.boundingBox())!;
      // The thumbnail has whole pixels, too.
      expect(Math.abs(box.width - width) + Math.abs(box.height - height)).toBeLessThan(1);
    }
    await expect(reader.locator(".file")).toHaveText(/notes\.txt\s*5 B/);
  }
  await expectAccessible(other);

  const download = other.waitForEvent("download");
  await other.locator(".file").click();
  expect((await download).suggestedFilename()).toBe("notes.txt");

  // A mismatch between the server's document and the page would be an error in the console.
  await other.reload();
  await waitUntilJoined(other);
  await expect(pictures(other)).toHaveCount(3);
});

test("large file arrives complete over a connection that is cut", async ({ server, person, expectedConsole }) => {
  expectedConsole.push(SERVER_GONE, /Failed to load resource/);
  const proxy = await TcpProxy.to(server);
  const page = await person({ baseURL: proxy.url });
  await enter(page, "garden", "Ann");
  const other = await person();
  await enter(other, "garden", "Bob");
  const content = randomBytes(25 * 1024 * 1024);
  const path = join(server.data, "..", `${Date.now()}.bin`);
  writeFileSync(path, content);

  await choose(page).setInputFiles(path);
  await field(page).fill("here it is");
  await send(page);
  await expect(page.getByText("The message is sent when its files are uploaded.")).toBeVisible();
  const sent = () => page.locator(".tray progress").evaluate((bar: HTMLProgressElement) => bar.value);
  await expect.poll(sent).toBeGreaterThan(1024 * 1024);
  proxy.disconnect();
  await expect(tray(page).locator(".status")).toHaveText("Waiting for the connection…");
  const before = await sent();
  expect(before).toBeLessThan(content.length);
  proxy.restore();
  await expect(texts(other)).toHaveText(["here it is"], { timeout: 60_000 });
  const address = await other.locator(".file").getAttribute("href");
  const response = await other.request.get(address!);
  expect(
    createHash("sha256")
      .update(await response.body())
      .digest(),
  ).toEqual(createHash("sha256").update(content).digest());
  proxy.remove();
});

test("refused and removed files are left out of the message, and a refused file shows the reason", async ({
  page,
  expectedConsole,
}) => {
  expectedConsole.push(/the server responded with a status of 422/);
  await enter(page, "garden", "Ann");
  await choose(page).setInputFiles(text("not a picture.png"));
  await expect(tray(page).getByRole("alert")).toHaveText(/The picture is damaged/);
  await write(page, "hello");
  await expect(page.getByText("Remove the file that could not be uploaded")).toBeVisible();
  await page.getByRole("button", { name: "Remove not a picture.png" }).click();
  await expect(tray(page)).toHaveCount(0);
  await post(page, "hello");
  await expect(texts(page)).toHaveText(["hello"]);
  await expect(page.getByText("Remove the file that could not be uploaded")).toBeHidden();
});

test("picture that is missing on the server is shown as missing", async ({ page, expectedConsole }) => {
  expectedConsole.push(/the server responded with a status of 404/);
  await enter(page, "garden", "Ann");
  await page.route("**/thumbnails/*", (route) => route.fulfill({ status: 404 }));
  await choose(page).setInputFiles(picture("gone.png"));
  await expect(tray(page).locator(".status")).toHaveText("Uploaded");
  await send(page);
  await expect(page.locator(".file")).toHaveText(/gone\.png\s*This file is missing on the server\./);
});

for (const width of [360, 1440]) {
  test(`files fit into a page of ${width} px`, async ({ person }) => {
    const page = await person({ viewport: { width, height: 760 } });
    await enter(page, "garden", "Ann");
    await choose(page).setInputFiles([picture("a picture with quite a long name from a camera.png"), text("b.txt")]);
    await expect(tray(page).locator(".status")).toHaveText(["Uploaded", "Uploaded"]);
    await page.screenshot({ path: test.info().outputPath(`tray-${width}.png`) });
    await send(page);
    await expect(pictures(page)).toHaveCount(1);
    await expect.poll(() => pictures(page).evaluate((image: HTMLImageElement) => image.complete)).toBe(true);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    await page.screenshot({ path: test.info().outputPath(`sent-${width}.png`) });
    await expectAccessible(page);
    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: test.info().outputPath(`dark-${width}.png`) });
    await expectAccessible(page);
  });
}
