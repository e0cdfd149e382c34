// Measures the main-thread time of one more message in a page that already shows SHOWN messages: append.js URL SHOWN
import { openRoom, joinAsPeer } from "./chromium.js";

const [url, shown] = [process.argv[2], Number(process.argv[3])];
const BATCHES = 9;
const BATCH = 20;
const PAUSE_MS = 50;

const room = "append";
const { browser, page } = await openRoom(url, room);
const { post, close } = await joinAsPeer(url, room);
const rows = (count) =>
  page.waitForFunction((count) => document.querySelectorAll("[data-row]").length >= count, count, { timeout: 120_000 });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

for (let posted = 0; posted < shown; posted += 100) {
  await Promise.all(Array.from({ length: Math.min(100, shown - posted) }, (_, n) => post(`Message ${posted + n}`)));
}
await rows(shown);
await pause(1_000);

const session = await page.context().newCDPSession(page);
await session.send("Performance.enable");
const taskMs = async () => {
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration").value * 1_000;
};
const costs = [];
for (let batch = 0; batch < BATCHES; batch++) {
  const before = await taskMs();
  for (let n = 0; n < BATCH; n++) {
    await post("one more message of ordinary length");
    await pause(PAUSE_MS);
  }
  costs.push(((await taskMs()) - before) / BATCH);
}
await rows(shown + BATCHES * BATCH);
costs.sort((a, b) => a - b);
console.log(JSON.stringify({ shown, median_ms: costs[BATCHES >> 1] }));
close();
await browser.close();
