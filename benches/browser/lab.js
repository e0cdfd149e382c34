// What a room's page feels like on a device: lab.js URL desktop|mobile
import { launch } from 'chrome-launcher';
import lighthouse from 'lighthouse';
import desktop from 'lighthouse/core/config/desktop-config.js';
import { executablePath, flags, openRoom } from './chromium.js';

const [url, device] = process.argv.slice(2);
const room = 'bench';
/** Lighthouse slows a mobile's processor down by so much. */
const SLOWER = device === 'mobile' ? 4 : 1;
/** Chromium does not tell of interactions that were faster. */
const FASTEST_MS = 16;

const chrome = await launch({ chromePath: executablePath, chromeFlags: ['--headless=new', ...flags] });
const options = { port: chrome.port, onlyCategories: ['performance'], output: 'json', logLevel: 'error' };
const { lhr } = await lighthouse(`${url}/r/${room}`, options, device === 'mobile' ? undefined : desktop);
chrome.kill();
const measured = (audit) => lhr.audits[audit].numericValue;

const { browser, page } = await openRoom(url, room);
const session = await page.context().newCDPSession(page);
await session.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
await page.evaluate((durationThreshold) => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const { interactionId, duration } of list.getEntries()) if (interactionId) window.longest = Math.max(window.longest, duration);
  }).observe({ type: 'event', durationThreshold, buffered: true });
}, FASTEST_MS);
await page.locator('#text').click();
for (let n = 0; n < 5; n++) {
  await page.keyboard.type('Hello to everyone', { delay: 30 });
  await page.keyboard.press('Enter');
  await page.waitForTimeout(200);
}
const inp_ms = Math.max(FASTEST_MS, await page.evaluate(() => window.longest));
await browser.close();

console.log(JSON.stringify({
  device,
  lcp_ms: measured('largest-contentful-paint'),
  inp_ms,
  cls: measured('cumulative-layout-shift'),
  tbt_ms: measured('total-blocking-time'),
  score: lhr.categories.performance.score,
}));
