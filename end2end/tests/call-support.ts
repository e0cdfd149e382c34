// What tests of calls need to know about connections that the page does not show.
import { type BrowserContext, type Locator, type Page, expect } from "@playwright/test";

type Watched = Window & { peers: RTCPeerConnection[]; opened: MediaStreamTrack[]; forced?: RTCConfiguration };

/** Remembers every connection and every device that pages of this context open. */
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
    // A copy of a track has a light of its own.
    const copy = MediaStreamTrack.prototype.clone;
    MediaStreamTrack.prototype.clone = function () {
      const track = copy.call(this);
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

/** What came in over all connections of a page that are open. */
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

/** Pictures decoded and sound heard grow from now on. */
export async function expectPictureAndSound(page: Page) {
  const before = await received(page);
  await expect.poll(async () => (await received(page)).frames, { timeout: 30_000 }).toBeGreaterThan(before.frames + 5);
  // Beeps, not the rounding of silence.
  await expect.poll(async () => (await received(page)).energy, { timeout: 30_000 }).toBeGreaterThan(before.energy + 0.01);
}

/** The picture in somebody's tile is not the same a moment later. */
export async function expectMoving(page: Page, name: string) {
  const look = () =>
    tile(page, name)
      .locator("video")
      .evaluate((video: HTMLVideoElement) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [32, 18];
        const context = canvas.getContext("2d")!;
        context.drawImage(video, 0, 0, 32, 18);
        return [...context.getImageData(0, 0, 32, 18).data].join();
      });
  // Not black, as before the first picture.
  await expect.poll(async () => new Set((await look()).split(",")).size, { timeout: 30_000 }).toBeGreaterThan(4);
  const before = await look();
  await expect.poll(look, { timeout: 20_000 }).not.toBe(before);
}

/** Sound that comes in while one waits, as energy. */
export async function heardWithin(page: Page, milliseconds: number): Promise<number> {
  const before = await received(page);
  await page.waitForTimeout(milliseconds);
  return (await received(page)).energy - before.energy;
}

/** The devices of a page that are in use: whose lights are on. */
export function inUse(page: Page): Promise<number> {
  return page.evaluate(
    () => (window as unknown as Watched).opened.filter((track) => track.readyState === "live").length,
  );
}
