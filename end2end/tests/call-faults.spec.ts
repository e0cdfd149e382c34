// Calls under real life: limits, devices that fail, refused sound, leaving by accident, several tabs.
import type { Page } from "@playwright/test";
import {
  control,
  controls,
  expectMoving,
  expectPictureAndSound,
  joinCall,
  liveTracks,
  meetInCall,
  tile,
  tiles,
  watchCalls,
} from "./call-support";
import { ProtocolClient, Server, enter, expect, test } from "./support";

test.beforeEach(async ({ context }) => watchCalls(context));

test("three users connect although the limits are low and candidates are many", async ({ person }) => {
  test.slow();
  const server = new Server({ NOOM_LIMITS_SIGNALS_PER_SECOND: "5", NOOM_LIMITS_SIGNAL_BURST: "10" });
  await server.start();
  try {
    const names = ["Ann", "Bob", "Cleo"];
    const pages: Page[] = [];
    for (const name of names) {
      const page = await person({ baseURL: server.url });
      await watchCalls(page.context());
      // As if this machine had thirty more networks, found one second later.
      await page.addInitScript(() => {
        const Native = RTCPeerConnection;
        (window as any).RTCPeerConnection = class extends Native {
          constructor(configuration?: RTCConfiguration) {
            super(configuration);
            for (const line of Array.from({ length: 30 }, (_, n) => `candidate:${n} 1 udp 1 192.0.2.${n} 9 typ host`)) {
              setTimeout(() => {
                const candidate = new RTCIceCandidate({ candidate: line, sdpMid: "0", sdpMLineIndex: 0 });
                this.dispatchEvent(new RTCPeerConnectionIceEvent("icecandidate", { candidate }));
              }, 1_000);
            }
          }
        };
      });
      await enter(page, "garden", name);
      await joinCall(page);
      pages.push(page);
    }
    for (const [index, viewer] of pages.entries()) {
      for (const seen of names.filter((_, other) => other !== index)) await expectMoving(viewer, seen);
    }
  } finally {
    await server.remove();
  }
});

test("moving bandwidth estimates restart no connection", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(page, "Bob");
  const iceUser = () =>
    page.evaluate(() => /a=ice-ufrag:(\S+)/.exec((window as any).peers.at(-1).currentLocalDescription.sdp)?.[1]);
  const before = await iceUser();
  await page.evaluate(() => {
    for (let n = 0; n < 20; n++) (navigator as any).connection.dispatchEvent(new Event("change"));
  });
  await page.waitForTimeout(2_000);
  expect(await iceUser()).toBe(before);
});

/** Ends the newest live track of a kind, as if its device were unplugged. */
function unplug(page: Page, kind: "audio" | "video") {
  return page.evaluate((kind) => {
    const live = (window as any).opened.filter((track: any) => track.kind === kind && track.readyState === "live");
    live.at(-1).stop();
    live.at(-1).dispatchEvent(new Event("ended"));
  }, kind);
}

test("device that ends is replaced, or the owner and the others are told", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(other, "Ann");
  // There is another one.
  await unplug(page, "video");
  await expectMoving(other, "Ann");
  await unplug(page, "audio");
  await expectPictureAndSound(other);
  expect(await liveTracks(page)).toBe(2);
  // There is none any more.
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("gone", "NotFoundError"));
  });
  await unplug(page, "video");
  await expect(tile(other, "Ann").locator("video")).toBeHidden();
  await expect(page.getByText("No camera was found")).toBeVisible();
  await unplug(page, "audio");
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await expect(page.getByText("No microphone was found")).toBeVisible();
});

test("camera that ends right after each opening is not reopened in a storm", async ({ page, server }) => {
  await page.addInitScript(() => {
    const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    (window as any).requests = 0;
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await native(constraints);
      if ((constraints as any).video) {
        (window as any).requests += 1;
        const [track] = stream.getVideoTracks();
        setTimeout(() => {
          track.stop();
          track.dispatchEvent(new Event("ended"));
        }, 20);
      }
      return stream;
    };
  });
  const other = await ProtocolClient.inRoom(server, "garden", "Bob");
  await other.request("join_call", { room: other.id("garden") });
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await page.waitForTimeout(4_000);
  expect(await page.evaluate(() => (window as any).requests)).toBeLessThanOrEqual(4);
  expect(other.frames.filter((frame) => frame.type === "media").length).toBeLessThanOrEqual(9);
  await expect(page.getByText("The camera was disconnected")).toBeVisible({ timeout: 15_000 });
  other.close();
});

test("paused camera shows no frozen picture", async ({ page, person }) => {
  const other = await person();
  await meetInCall(page, other);
  await expectMoving(other, "Ann");
  const pause = (name: string) =>
    page.evaluate((name) => {
      const live = (window as any).opened.filter((track: any) => track.kind === "video" && track.readyState === "live");
      live.at(-1).dispatchEvent(new Event(name));
    }, name);
  await pause("mute");
  await expect(tile(other, "Ann").locator("video")).toBeHidden();
  await expect(page.getByText("The system has paused the camera")).toBeVisible();
  await pause("unmute");
  await expectMoving(other, "Ann");
  await expect(page.getByText("The system has paused the camera")).toBeHidden();
});

test("hanging driver is reported, and can be tried again", async ({ page }) => {
  await page.addInitScript(() => {
    const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    (window as any).hang = true;
    navigator.mediaDevices.getUserMedia = (constraints) =>
      (window as any).hang && (constraints as any).video ? new Promise(() => {}) : native(constraints);
  });
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await expect(page.getByText("The camera does not answer")).toBeVisible({ timeout: 15_000 });
  await page.evaluate(() => ((window as any).hang = false));
  await control(page, "Turn camera on").click();
  await expect(control(page, "Turn camera off")).toBeVisible();
  await expect(page.getByText("The camera does not answer")).toBeHidden();
});

test("refused sound is shown, and the next click plays it", async ({ page, person }) => {
  const other = await person();
  await enter(other, "garden", "Bob");
  await joinCall(other);
  await page.addInitScript(() => {
    const native = HTMLMediaElement.prototype.play;
    (window as any).refuse = true;
    HTMLMediaElement.prototype.play = function () {
      if (!(window as any).refuse || this.muted) return native.call(this);
      this.autoplay = false;
      this.pause();
      return Promise.reject(new DOMException("no touch yet", "NotAllowedError"));
    };
  });
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await expect(page.getByRole("button", { name: "Turn on sound" })).toBeVisible({ timeout: 20_000 });
  const playing = () =>
    tile(page, "Bob")
      .locator("audio")
      .evaluateAll((all: HTMLAudioElement[]) => all.map((audio) => !audio.paused));
  expect(await playing()).toEqual([false]);
  await page.evaluate(() => ((window as any).refuse = false));
  // Any click helps.
  await page.getByRole("heading", { level: 1 }).click();
  await expect.poll(playing).toEqual([true]);
  await expect(page.getByRole("button", { name: "Turn on sound" })).toBeHidden();
});

test("home, back and a closed tab are asked about during a call", async ({ page }) => {
  await page.goto("/");
  await page.goto("/r/garden");
  await enter(page, "garden", "Ann");
  await joinCall(page);
  const question = page.getByRole("dialog");
  for (const leave of [() => page.getByRole("link", { name: "All rooms" }).click(), () => page.goBack()]) {
    await leave();
    await expect(question).toContainText("Leave the call?");
    await question.getByRole("button", { name: "Stay in the call" }).click();
    await expect(question).toBeHidden();
    await expect(controls(page)).toBeVisible();
    expect(new URL(page.url()).pathname).toBe("/r/garden");
  }
  const asked = new Promise<string>((resolve) =>
    page.once("dialog", (dialog) => {
      resolve(dialog.type());
      void dialog.dismiss();
    }),
  );
  await page.close({ runBeforeUnload: true });
  expect(await asked).toBe("beforeunload");
  await expect(controls(page)).toBeVisible();
  // A file that is dropped does not replace the page.
  const taken = await page.evaluate(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["x"], "x.txt"));
    const target = document.querySelector("textarea")!;
    return !target.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  });
  expect(taken).toBe(true);
  // The user means it.
  await page.goBack();
  await question.getByRole("button", { name: "Leave call" }).click();
  await expect(page).toHaveURL(/\/r\/garden$|\/$/);
  await expect(controls(page)).toBeHidden();
  await expect.poll(() => liveTracks(page)).toBe(0);
});

test("room is left by its link after the user has confirmed", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await page.getByRole("link", { name: "All rooms" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Leave call" }).click();
  await expect(page).toHaveURL(/\/$/);
  await expect.poll(() => liveTracks(page)).toBe(0);
  // Nothing asks any more.
  await enter(page, "garden");
  await page.getByRole("link", { name: "All rooms" }).click();
  await expect(page).toHaveURL(/\/$/);
});

test("call of an earlier tab ends when the user joins in another tab", async ({ page, context, person }) => {
  const other = await person();
  await meetInCall(page, other);
  await expectMoving(other, "Ann");
  const second = await context.newPage();
  await enter(second, "garden");
  await joinCall(second);
  await expect(page.getByText("You joined this call from another tab")).toBeVisible();
  await expect.poll(() => liveTracks(page)).toBe(0);
  await expect(tiles(other)).toHaveCount(2);
  await expectMoving(other, "Ann");
  // A call in another room mutes this one.
  const third = await context.newPage();
  await enter(third, "kitchen");
  await joinCall(third);
  await expect(second.getByText("you joined a call in another tab")).toBeVisible();
  await expect(control(second, "Unmute")).toBeVisible();
  await expect(control(third, "Mute")).toBeVisible();
});

test("screen stays on during a call", async ({ page }) => {
  await page.addInitScript(() => {
    (window as any).locks = 0;
    const lock = async () => {
      (window as any).locks += 1;
      const release = async () => {
        (window as any).locks -= 1;
      };
      return { release };
    };
    Object.defineProperty(navigator, "wakeLock", { value: { request: lock } });
  });
  const locks = () => page.evaluate(() => (window as any).locks);
  await enter(page, "garden", "Ann");
  await page.getByRole("button", { name: "Call", exact: true }).click();
  expect(await locks()).toBe(0);
  await page.getByRole("button", { name: "Join now" }).click();
  await expect.poll(locks).toBe(1);
  await control(page, "Leave call").click();
  await expect.poll(locks).toBe(0);
});

test("latecomer without devices sees a shared screen", async ({ page, person }) => {
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await control(page, "Share screen").click();
  await expect(control(page, "Share screen")).toHaveAttribute("aria-pressed", "true");
  const late = await person();
  await watchCalls(late.context());
  await late.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("none", "NotFoundError"));
  });
  await enter(late, "garden", "Bob");
  await joinCall(late);
  await expect(tile(late, "Ann")).toHaveClass(/large/);
  await expectMoving(late, "Ann");
  await expectPictureAndSound(late);
});

test("dictation, scrolling and a switch keep shortcuts from acting", async ({ page, server }) => {
  await enter(page, "garden", "Ann");
  const other = await ProtocolClient.inRoom(server, "garden", "Bob");
  for (let n = 0; n < 40; n++) await other.post("garden", `line ${n}`);
  await joinCall(page);
  const log = page.getByRole("log");
  // Words that are dictated without a field.
  await page.locator(".stage").click({ position: { x: 2, y: 2 } });
  await page.keyboard.type("some movies have mixed views ");
  await page.waitForTimeout(500);
  const expectUnchanged = async () => {
    await expect(control(page, "Mute")).toBeVisible();
    await expect(control(page, "Turn camera off")).toBeVisible();
    await expect(control(page, "Share screen")).toHaveAttribute("aria-pressed", "false");
  };
  await expectUnchanged();
  // The space bar scrolls where the messages have the focus.
  await page.keyboard.press("m");
  await expect(control(page, "Unmute")).toBeVisible();
  await log.focus();
  await log.evaluate((log) => log.scrollTo(0, -log.scrollHeight));
  const before = await log.evaluate((log) => log.scrollTop);
  await page.keyboard.down("Space");
  await expect.poll(() => log.evaluate((log) => log.scrollTop)).toBeGreaterThan(before);
  await expect(control(page, "Unmute")).toBeVisible();
  await page.keyboard.up("Space");
  await control(page, "Unmute").click();
  // Switched off, also for later calls.
  await control(page, "More").click();
  await page.getByLabel("Use keyboard shortcuts").uncheck();
  for (const again of [false, true]) {
    if (again) {
      await page.reload();
      await joinCall(page);
    }
    await page.locator(".stage").click({ position: { x: 2, y: 2 } });
    for (const key of ["m", "v", "s"]) {
      await page.keyboard.press(key);
      await page.waitForTimeout(300);
    }
    await expectUnchanged();
  }
  other.close();
});

test("keyboard focus stays in the call, and returns to its button", async ({ page }) => {
  await enter(page, "garden", "Ann");
  const focused = () =>
    page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent);
  await page.getByRole("button", { name: "Call", exact: true }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Ready to join?" })).toBeFocused();
  const join = page.getByRole("button", { name: "Join now" });
  await join.focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused).toBe("Mute");
  // A control that is busy keeps the focus.
  await control(page, "Turn camera off").focus();
  await page.keyboard.press("Enter");
  await expect(control(page, "Turn camera on")).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(control(page, "Turn camera off")).toBeFocused();
  await control(page, "Leave call").focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Call", exact: true })).toBeFocused();
});

test("pressed controls can be told apart in forced colours", async ({ page }) => {
  await page.emulateMedia({ forcedColors: "active" });
  await enter(page, "garden", "Ann");
  await joinCall(page);
  const colour = (name: string) => control(page, name).evaluate((button) => getComputedStyle(button).backgroundColor);
  for (const name of ["Raise hand", "Share screen"]) {
    const before = await colour(name);
    await control(page, name).click();
    await expect(control(page, name)).toHaveAttribute("aria-pressed", "true");
    expect(await colour(name)).not.toBe(before);
  }
});
