// The browser, and somebody else in the room.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';

/** Playwright's own Chromium where it is installed, otherwise the system's. */
export const executablePath = existsSync(chromium.executablePath()) ? chromium.executablePath() : '/usr/bin/chromium';
export const flags = process.getuid?.() === 0 ? ['--no-sandbox'] : [];

/** A page of a room, when the program in it has entered. */
export async function openRoom(url, room) {
  const browser = await chromium.launch({ executablePath, args: flags });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(`${url}/r/${room}`);
  await page.locator('aside .you').waitFor();
  return { browser, page };
}

/** Somebody who speaks in a room. */
export async function speaker(url, room) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { origin: url });
  const answers = new Map();
  let next = 1;
  socket.on('message', (data) => {
    const { type, payload, id } = JSON.parse(data);
    if (type === 'error') throw new Error(payload.message);
    answers.get(id)?.(payload);
    answers.delete(id);
  });
  const ask = (type, payload) =>
    new Promise((resolve) => {
      answers.set(next, resolve);
      socket.send(JSON.stringify({ type, payload, id: next++ }));
    });
  await new Promise((resolve) => socket.once('open', resolve));
  await ask('hello', { protocol: 1 });
  await ask('enter_room', { room });
  return {
    say: (text) => ask('new_message', { room, key: randomUUID(), text }),
    close: () => socket.close(),
  };
}
