// Makes the README's picture: a real server, a few people, Chromium.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "@playwright/test";
import WebSocket from "ws";

const root = join(import.meta.dirname, "..");
const data = mkdtempSync(join(tmpdir(), "noom-"));
const server = spawn(join(root, "target/release/noom"), ["--listen", "127.0.0.1:0", "--data-dir", data], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
let url;
for await (const line of createInterface({ input: server.stdout })) {
  url = line.replace("Noom is at ", "");
  break;
}

async function somebody(nickname) {
  const socket = new WebSocket(url.replace("http", "ws") + "/ws", { headers: { origin: url } });
  await new Promise((resolve) => socket.once("open", resolve));
  const waiting = new Map();
  socket.on("message", (text) => {
    const frame = JSON.parse(text);
    waiting.get(frame.id)?.(frame.payload);
  });
  let id = 0;
  const ask = (type, payload) =>
    new Promise((resolve) => {
      waiting.set(++id, resolve);
      socket.send(JSON.stringify({ type, payload, id }));
    });
  await ask("hello", { protocol: 1 });
  await ask("nickname", { nickname });
  await ask("enter_room", { room: "garden" });
  return (text) => ask("new_message", { room: "garden", key: randomUUID(), text });
}

const browser = await chromium.launch({
  executablePath: existsSync(chromium.executablePath()) ? undefined : "/usr/bin/chromium",
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
try {
  const page = await browser.newPage({ viewport: { width: 1120, height: 700 }, deviceScaleFactor: 1.5, locale: "en-US" });
  const [ann, bob, kim] = [await somebody("Ann"), await somebody("Bob Ross"), await somebody("김민지")];
  await ann("Good morning! Who brings the seedlings on Saturday?");
  await bob("I can bring tomatoes and basil 🌿");
  await bob("The list is at https://garden.example/plan?week=48, please add yours.");
  await kim("저는 상추랑 고추를 가져갈게요. 토요일 몇 시에 만날까요?");
  await ann("Ten o'clock at the gate.\nIf it rains we meet in the shed instead.");
  await page.goto(`${url}/r/garden`);
  await page.getByLabel("Your name").fill("Olga");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByLabel("Your name").waitFor({ state: "hidden" });
  await page.getByRole("textbox", { name: "Message" }).fill("Is there still room for one more?");
  await page.keyboard.press("Enter");
  await page.getByText("Sending").waitFor({ state: "detached" });
  await ann("Always.");
  await page.getByText("Always.").waitFor();
  mkdirSync(join(root, "docs"), { recursive: true });
  await page.screenshot({ path: join(root, "docs/room.png") });
} finally {
  await browser.close();
  server.kill();
  rmSync(data, { recursive: true, force: true });
}
