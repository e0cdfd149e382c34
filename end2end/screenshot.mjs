// Takes the README's pictures in docs/: a real server, a few users, Chromium with fake cameras.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "@playwright/test";
import WebSocket from "ws";

const ROOM = "garden";
const DESKTOP = { viewport: { width: 1280, height: 760 }, deviceScaleFactor: 1.5 };
const PHONE = { viewport: { width: 390, height: 760 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const root = join(import.meta.dirname, "..");
const data = mkdtempSync(join(tmpdir(), "noom-"));
const server = spawn(join(root, "target/release/noom"), ["--listen", "127.0.0.1:0", "--data-dir", data], {
  cwd: root,
  stdio: ["ignore", "pipe", "inherit"],
});
let url;
for await (const line of createInterface({ input: server.stdout })) {
  url = line.replace("Noom is at ", "");
  break;
}

/** Enters a room without a page; returns functions that post a message, react to one and reply to one, by its `seq`. */
async function joinAs(nickname, name = ROOM) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, { headers: { origin: url } });
  await new Promise((resolve) => socket.once("open", resolve));
  const waiting = new Map();
  socket.on("message", (text) => {
    const frame = JSON.parse(text);
    waiting.get(frame.id)?.(frame.payload);
  });
  let id = 0;
  const request = (type, payload) =>
    new Promise((resolve) => {
      waiting.set(++id, resolve);
      socket.send(JSON.stringify({ type, payload, id }));
    });
  await request("hello", { protocol: 2 });
  await request("nickname", { nickname });
  const { room, epoch } = await request("enter_room", { name });
  const post = (text, more) => request("new_message", { room, key: randomUUID(), text, ...more });
  const react = (seq, emoji) => request("react", { room, target: { epoch, seq }, emoji, on: true });
  const reply = (seq, text) => post(text, { reply_to: { epoch, seq } });
  return { post, react, reply };
}

const browser = await chromium.launch({
  executablePath: existsSync(chromium.executablePath()) ? undefined : "/usr/bin/chromium",
  args: [
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
  ],
});

/** Opens the room in its own browser context and sets a name. */
async function open(nickname, options = DESKTOP, room = ROOM) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const page = await context.newPage();
  await page.goto(`${url}/r/${room}`);
  await page.getByLabel("Your name").fill(nickname);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByLabel("Your name").waitFor({ state: "hidden" });
  return page;
}

async function joinCall(page) {
  await page.getByRole("button", { name: /^(Call|Join call)/ }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await page.getByRole("toolbar", { name: "Call controls" }).waitFor();
}

/** Waits until every tile of the call plays a video. */
async function waitForVideos(page, count) {
  await page.waitForFunction(
    (count) => [...document.querySelectorAll(".tile video")].filter((video) => video.videoWidth > 0).length === count,
    count,
  );
}

async function save(page, name) {
  // Away from all elements, so that nothing is highlighted.
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(root, `docs/${name}.png`) });
}

try {
  mkdirSync(join(root, "docs"), { recursive: true });
  const [ann, bob, kim] = [await joinAs("Ann"), await joinAs("Bob Ross"), await joinAs("김민지")];
  await ann.post("Good morning! Who can bring seedlings on Saturday?");
  await bob.post("I can bring **tomatoes** and basil 🌿");
  await bob.post("The list is at https://garden.example/plan?week=48, please add yours.");
  await kim.post("저는 상추랑 고추를 가져갈게요. 토요일 몇 시에 만날까요?");
  await ann.reply(4, "Ten o'clock at the gate.\nIf it rains, we meet in the shed instead.");
  await bob.react(5, "👍");
  await kim.react(5, "👍");
  await kim.react(2, "🍅");

  // Two rooms of hers in which others write meanwhile.
  const page = await open("Olga", DESKTOP, "kitchen");
  for (const room of ["kitchen", "book club", ROOM]) {
    await page.goto(`${url}/r/${encodeURIComponent(room)}`);
    await page.getByRole("textbox", { name: "Message" }).fill(room === ROOM ? "Is there room for one more?" : "Hello!");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".message.own").first().waitFor();
    await page.getByText("Sending").waitFor({ state: "detached" });
  }
  const elsewhere = await joinAs("Sam", "kitchen");
  for (const text of ["The oven is free", "Who has the big pot?", "Found it"]) await elsewhere.post(text);
  await ann.post("Always.");
  await page.getByText("Always.").waitFor();
  await page.locator(".my-rooms .badge").waitFor();
  await save(page, "room");
  await page.emulateMedia({ colorScheme: "dark" });
  await save(page, "room-dark");
  await page.emulateMedia({ colorScheme: "light" });

  const phone = await open("Tom", PHONE);
  await phone.getByText("Always.").waitFor();
  await save(phone, "phone");
  await phone.close();

  const other = await open("Mia");
  await joinCall(page);
  await joinCall(other);
  await waitForVideos(page, 2);
  await save(page, "call");
} finally {
  await browser.close();
  server.kill();
  rmSync(data, { recursive: true, force: true });
}
