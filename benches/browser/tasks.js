// Measures the longest task of the page's main thread while a room opens: tasks.js URL ROOM
import { enterRoom, openPage } from "./chromium.js";

const [url, room] = process.argv.slice(2);
const RUNS = 3;
const REST_MS = 500;

async function longestTask() {
  const { browser, page } = await openPage();
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline"] });
  await enterRoom(page, url, room);
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  await browser.close();
  const thread = ({ pid, tid }) => `${pid}/${tid}`;
  const names = traceEvents.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
  const mains = new Set(names.map(thread));
  const tasks = traceEvents.filter((event) => event.name.endsWith("RunTask") && mains.has(thread(event)));
  return tasks.reduce((longest, { dur = 0 }) => Math.max(longest, dur / 1_000), 0);
}

const longest = [];
for (let run = 0; run < RUNS; run++) longest.push(await longestTask());
longest.sort((a, b) => a - b);
console.log(JSON.stringify({ longest_ms: longest[RUNS >> 1] }));
