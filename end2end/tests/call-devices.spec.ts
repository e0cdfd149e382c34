// Calls without devices, or without permission to use them.
import { chromium } from "@playwright/test";
import { networkInterfaces } from "node:os";
import { controls, expectMoving, joinCall, tile, watchCalls } from "./call-support";
import { Server, enter, expect, waitUntilJoined, test } from "./support";

test("denied permission is explained, and the user joins to watch and listen", async ({
  server,
  person,
  launchOptions,
}) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  await joinCall(other);
  const args = launchOptions
    .args!.filter((argument) => !argument.includes("fake-ui"))
    .concat("--deny-permission-prompts");
  const browser = await chromium.launch({ ...launchOptions, args });
  const page = await (await browser.newContext({ baseURL: server.url })).newPage();
  await watchCalls(page.context());
  await enter(page, "garden", "Ann");
  await page.getByRole("button", { name: "Join call · 1" }).click();
  await expect(page.getByText("Camera access is blocked")).toBeVisible();
  await expect(page.getByText("Microphone access is blocked")).toBeVisible();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(controls(page)).toBeVisible();
  await expectMoving(page, "Bob");
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await browser.close();
});

test("missing camera and microphone are explained", async ({ server, launchOptions }) => {
  const args = launchOptions.args!.filter((argument) => !argument.includes("fake-device"));
  const browser = await chromium.launch({ ...launchOptions, args });
  const page = await (await browser.newContext({ baseURL: server.url })).newPage();
  await enter(page, "garden", "Ann");
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await expect(page.getByText("No camera was found")).toBeVisible();
  await expect(page.getByText("No microphone was found")).toBeVisible();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(controls(page)).toBeVisible();
  await browser.close();
});

test("busy device is explained and can be retried", async ({ page }) => {
  // Browsers have no switch for a busy device, so getUserMedia is replaced.
  await page.addInitScript(() => {
    const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    (window as any).busy = true;
    navigator.mediaDevices.getUserMedia = (constraints) =>
      (window as any).busy ? Promise.reject(new DOMException("in use", "NotReadableError")) : native(constraints);
  });
  await enter(page, "garden", "Ann");
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await expect(page.getByText("Another app is using the camera")).toBeVisible();
  await expect(page.getByText("Another app is using the microphone")).toBeVisible();
  await page.evaluate(() => ((window as any).busy = false));
  await page.getByRole("button", { name: "Turn camera on" }).click();
  await page.getByRole("button", { name: "Unmute" }).click();
  await expect(page.getByText("Another app")).toHaveCount(0);
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(controls(page)).toBeVisible();
});

test("insecure page explains why there is no camera, and the user can join", async ({ person, expectedConsole }) => {
  expectedConsole.push(/Cross-Origin-Opener-Policy header has been ignored/);
  const address = Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry?.family === "IPv4" && !entry.internal)?.address;
  expect(address, "the machine has an address besides loopback").toBeTruthy();
  const server = new Server({}, "0.0.0.0");
  await server.start();
  const page = await person({ baseURL: server.url.replace("0.0.0.0", address!) });
  await page.goto("/r/garden");
  await waitUntilJoined(page);
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await expect(page.getByText("only work on secure (https) pages").first()).toBeVisible();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(controls(page)).toBeVisible();
  await server.remove();
});

test("call code is fetched with the first call, and a failed fetch can be retried", async ({
  page,
  expectedConsole,
}) => {
  expectedConsole.push(/Failed to load|net::ERR_FAILED|split/);
  const fetched: string[] = [];
  page.on("request", (request) => fetched.push(request.url()));
  const part = /split_.*\.wasm/;
  await page.route(part, (route) => route.abort());
  await enter(page, "garden", "Ann");
  expect(fetched.filter((url) => part.test(url))).toEqual([]);
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText("cannot be reached");
  await page.unroute(part);
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("button", { name: "Join now" })).toBeVisible();
});

test("page without script explains that calls need JavaScript", async ({ person }) => {
  const page = await person({ javaScriptEnabled: false });
  await page.goto("/r/garden");
  await expect(page.getByText("Calls need JavaScript.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Call", exact: true })).toBeHidden();
});
