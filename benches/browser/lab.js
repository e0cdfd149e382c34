// Lab metrics of a room's page on an emulated device: lab.js URL desktop|mobile
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";
import desktop from "lighthouse/core/config/desktop-config.js";
import { executablePath, flags, openRoom } from "./chromium.js";

const [url, device] = process.argv.slice(2);
const room = "bench";
/** CPU slowdown factor, as Lighthouse applies it for mobile devices. */
const CPU_SLOWDOWN = device === "mobile" ? 4 : 1;
/** Lighthouse sometimes loses its page and reports a runtime error; such a run is repeated. */
const ATTEMPTS = 3;

async function audit() {
  const chrome = await launch({ chromePath: executablePath, chromeFlags: ["--headless=new", ...flags] });
  const options = { port: chrome.port, onlyCategories: ["performance"], output: "json", logLevel: "error" };
  const { lhr } = await lighthouse(`${url}/r/${room}`, options, device === "mobile" ? undefined : desktop);
  chrome.kill();
  return lhr;
}
let lhr = await audit();
for (let n = 1; lhr.runtimeError && n < ATTEMPTS; n++) {
  console.error(`Lighthouse: ${lhr.runtimeError.code}`);
  lhr = await audit();
}
const measured = (id) => lhr.audits[id].numericValue;

const { browser, page } = await openRoom(url, room);
const session = await page.context().newCDPSession(page);
await session.send("Emulation.setCPUThrottlingRate", { rate: CPU_SLOWDOWN });
// Measures from each input event to the end of the frame that shows its effect. The Event Timing API measures the same,
// but headless Chromium reports frames to it late and in bunches, so that a key press seems to include the pause after it.
await page.evaluate(() => {
  window.longest = 0;
  const after = (event) =>
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => (window.longest = Math.max(window.longest, performance.now() - event.timeStamp));
      port2.postMessage(null);
    });
  for (const kind of ["pointerdown", "pointerup", "click", "keydown", "keyup", "input"])
    addEventListener(kind, after, { capture: true });
});
await page.locator("#text").click();
for (let n = 0; n < 5; n++) {
  await page.keyboard.type("Hello to everyone", { delay: 30 });
  await page.keyboard.press("Enter");
  await page.waitForTimeout(200);
}
const inp_ms = await page.evaluate(() => window.longest);
await browser.close();

console.log(
  JSON.stringify({
    device,
    lcp_ms: measured("largest-contentful-paint"),
    inp_ms,
    cls: measured("cumulative-layout-shift"),
    tbt_ms: measured("total-blocking-time"),
    score: lhr.categories.performance.score,
  }),
);
