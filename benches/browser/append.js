// What one more message costs the main thread of a page that shows so many already: append.js URL SHOWN
import { openRoom, speaker } from './chromium.js';

const [url, shown] = [process.argv[2], Number(process.argv[3])];
const BATCHES = 9;
const BATCH = 20;
const PAUSE_MS = 50;

const room = 'append';
const { browser, page } = await openRoom(url, room);
const { say, close } = await speaker(url, room);
const rows = (count) => page.waitForFunction((count) => document.querySelectorAll('[data-row]').length >= count, count, { timeout: 120_000 });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

for (let said = 0; said < shown; said += 100) {
  await Promise.all(Array.from({ length: Math.min(100, shown - said) }, (_, n) => say(`Message ${said + n}`)));
}
await rows(shown);
await pause(1_000);

const session = await page.context().newCDPSession(page);
await session.send('Performance.enable');
const work = async () => {
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'TaskDuration').value * 1_000;
};
const costs = [];
for (let batch = 0; batch < BATCHES; batch++) {
  const before = await work();
  for (let n = 0; n < BATCH; n++) {
    await say('one more message, as people write them');
    await pause(PAUSE_MS);
  }
  costs.push(((await work()) - before) / BATCH);
}
await rows(shown + BATCHES * BATCH);
costs.sort((one, other) => one - other);
console.log(JSON.stringify({ shown, median_ms: costs[BATCHES >> 1] }));
close();
await browser.close();
