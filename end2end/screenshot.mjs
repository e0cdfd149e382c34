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
const DESKTOP = { viewport: { width: 1120, height: 700 }, deviceScaleFactor: 1.5 };
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

/** Enters the room without a page; returns a function that posts a message. */
async function joinAs(nickname) {
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
  await request("hello", { protocol: 1 });
  await request("nickname", { nickname });
  await request("enter_room", { room: ROOM });
  return (text) => request("new_message", { room: ROOM, key: randomUUID(), text });
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
async function open(nickname, options = DESKTOP) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const page = await context.newPage();
  await page.goto(`${url}/r/${ROOM}`);
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
  await ann("Good morning! Who can bring seedlings on Saturday?");
  await bob("I can bring tomatoes and basil 🌿");
  await bob("The list is at https://garden.example/plan?week=48, please add yours.");
  await kim("저는 상추랑 고추를 가져갈게요. 토요일 몇 시에 만날까요?");
  await ann("Ten o'clock at the gate.\nIf it rains, we meet in the shed instead.");

  const page = await open("Olga");
  await page.getByRole("textbox", { name: "Message" }).fill("Is there room for one more?");
  await page.keyboard.press("Enter");
  await page.getByText("Sending").waitFor({ state: "detached" });
  await ann("Always.");
  await page.getByText("Always.").waitFor();
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
