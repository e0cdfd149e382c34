import { existsSync } from "node:fs";
import { chromium, defineConfig, devices } from "@playwright/test";

// Playwright's Chromium if it is installed, otherwise the system's.
const own = existsSync(chromium.executablePath());
const executablePath = own ? undefined : "/usr/bin/chromium";
const isRoot = process.getuid?.() === 0;

export default defineConfig({
  testDir: "tests",
  timeout: 60_000,
  globalTimeout: 45 * 60_000,
  expect: { timeout: 15_000 },
  // One core for the browser, one for its server.
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: [["list"]],
  use: {
    ...devices["Desktop Chrome"],
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    timezoneId: "Asia/Seoul",
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath,
      args: [
        ...(isRoot ? ["--no-sandbox"] : []),
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        // Fake cameras, microphones and screens, allowed without a prompt, and calls between pages of one
        // machine. Three devices, because the second camera is a depth camera, which no codec can send.
        "--use-fake-device-for-media-stream=device-count=3",
        "--use-fake-ui-for-media-stream",
        "--allow-loopback-in-peer-connection",
      ],
    },
  },
});
