// Access to the peer connections and devices of a page, and helpers for its call.
import { type BrowserContext, type Locator, type Page, expect } from "@playwright/test";
import { enter } from "./support";

type Watched = Window & { peers: RTCPeerConnection[]; opened: MediaStreamTrack[]; forced?: RTCConfiguration };

/** Records every peer connection and media track that pages of this context open. `forced` overrides their configuration. */
export async function watchCalls(context: BrowserContext, forced?: RTCConfiguration) {
  await context.addInitScript((forced) => {
    const watched = window as unknown as Watched & { RTCPeerConnection: typeof RTCPeerConnection };
    watched.peers = [];
    watched.opened = [];
    const Native = RTCPeerConnection;
    watched.RTCPeerConnection = class extends Native {
      constructor(configuration?: RTCConfiguration) {
        super({ ...configuration, ...forced });
        watched.peers.push(this);
      }
    };
    // A clone keeps the device in use until it is stopped, too.
    const clone = MediaStreamTrack.prototype.clone;
    MediaStreamTrack.prototype.clone = function () {
      const track = clone.call(this);
      watched.opened.push(track);
      return track;
    };
    for (const name of ["getUserMedia", "getDisplayMedia"] as const) {
      const native = navigator.mediaDevices?.[name].bind(navigator.mediaDevices);
      if (!native) continue;
      navigator.mediaDevices[name] = async (constraints?: any) => {
        const stream = await native(constraints);
        watched.opened.push(...stream.getTracks());
        return stream;
      };
    }
  }, forced);
}

/** Opens the call of the room that the page shows, and joins it. */
export async function joinCall(page: Page) {
  await page.getByRole("button", { name: /^(Call|Join call)/ }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(controls(page)).toBeVisible();
}

/** Lets Ann and Bob enter the same room and its call, one after the other. */
export async function meetInCall(ann: Page, bob: Page) {
  await enter(ann, "garden", "Ann");
  await enter(bob, "garden", "Bob");
  await joinCall(ann);
  await joinCall(bob);
}

export function controls(page: Page): Locator {
  return page.getByRole("toolbar", { name: "Call controls" });
}

export function control(page: Page, name: string): Locator {
  return controls(page).getByRole("button", { name, exact: true });
}

export function tiles(page: Page): Locator {
  return page.getByRole("list", { name: "People in the call" }).locator(".tile");
}

export function tile(page: Page, name: string): Locator {
  return tiles(page).filter({ has: page.locator(".name bdi", { hasText: new RegExp(`^${name}$`) }) });
}

type Counts = { frames: number; energy: number; width: number; relayed: boolean };

/** Totals over all open peer connections of a page. */
export async function received(page: Page): Promise<Counts> {
  return page.evaluate(async () => {
    const counts = { frames: 0, energy: 0, width: 0, relayed: false };
    const open = (window as unknown as Watched).peers.filter((peer) => peer.connectionState !== "closed");
    for (const peer of open) {
      const stats = [...((await peer.getStats()) as any).values()];
      for (const entry of stats) {
        if (entry.type === "inbound-rtp" && entry.kind === "video") {
          counts.frames += entry.framesDecoded ?? 0;
          counts.width = Math.max(counts.width, entry.frameWidth ?? 0);
        }
        if (entry.type === "inbound-rtp" && entry.kind === "audio") counts.energy += entry.totalAudioEnergy ?? 0;
        if (entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded") {
          const local = stats.find((other) => other.id === entry.localCandidateId);
          counts.relayed ||= local?.candidateType === "relay";
        }
      }
    }
    return counts;
  });
}

/** Waits until more video frames are decoded and more audio energy is received. */
export async function expectPictureAndSound(page: Page) {
  const before = await received(page);
  await expect.poll(async () => (await received(page)).frames, { timeout: 30_000 }).toBeGreaterThan(before.frames + 5);
  // Above the rounding errors of silence.
  await expect
    .poll(async () => (await received(page)).energy, { timeout: 30_000 })
    .toBeGreaterThan(before.energy + 0.01);
}

/** Waits until the picture in a tile changes. */
export async function expectMoving(page: Page, name: string) {
  const pixels = () =>
    tile(page, name)
      .locator("video")
      .evaluate((video: HTMLVideoElement) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [32, 18];
        const context = canvas.getContext("2d")!;
        context.drawImage(video, 0, 0, 32, 18);
        return [...context.getImageData(0, 0, 32, 18).data].join();
      });
  // A tile is black before its first frame.
  await expect.poll(async () => new Set((await pixels()).split(",")).size, { timeout: 30_000 }).toBeGreaterThan(4);
  const before = await pixels();
  await expect.poll(pixels, { timeout: 20_000 }).not.toBe(before);
}

/** The audio energy received within this time. */
export async function energyWithin(page: Page, milliseconds: number): Promise<number> {
  const before = await received(page);
  await page.waitForTimeout(milliseconds);
  return (await received(page)).energy - before.energy;
}

/** The number of the page's media tracks that keep a device in use. */
export function liveTracks(page: Page): Promise<number> {
  return page.evaluate(
    () => (window as unknown as Watched).opened.filter((track) => track.readyState === "live").length,
  );
}
