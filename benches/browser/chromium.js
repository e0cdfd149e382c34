// The browser under test, and a second client in the room.
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import WebSocket from "ws";

/** Playwright's Chromium if it is installed, otherwise the system's. */
export const executablePath = existsSync(chromium.executablePath()) ? chromium.executablePath() : "/usr/bin/chromium";
export const flags = process.getuid?.() === 0 ? ["--no-sandbox"] : [];

/** Opens a room's page and waits until its WASM has entered the room. */
export async function openRoom(url, room) {
  const { browser, page } = await openPage();
  await enterRoom(page, url, room);
  return { browser, page };
}

/** Starts a browser with an empty page. */
export async function openPage() {
  const browser = await chromium.launch({ executablePath, args: flags });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  return { browser, page };
}

/** Loads a room's page and waits until its WASM has entered the room. */
export async function enterRoom(page, url, room) {
  await page.goto(`${url}/r/${room}`);
  await page.locator("aside .you").waitFor();
}

/** Joins a room over a plain WebSocket. */
export async function joinAsPeer(url, room) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, { origin: url });
  const pending = new Map();
  let next = 1;
  socket.on("message", (data) => {
    const { type, payload, id } = JSON.parse(data);
    if (type === "error") throw new Error(payload.message);
    pending.get(id)?.(payload);
    pending.delete(id);
  });
  const request = (type, payload) =>
    new Promise((resolve) => {
      pending.set(next, resolve);
      socket.send(JSON.stringify({ type, payload, id: next++ }));
    });
  await new Promise((resolve) => socket.once("open", resolve));
  await request("hello", { protocol: 2 });
  const { room: id } = await request("enter_room", { name: room });
  return {
    post: (text) => request("new_message", { room: id, key: randomUUID(), text }),
    close: () => socket.close(),
  };
}
