import { expectAccessible } from "./accessible";
import { TcpProxy } from "./tcp-proxy";
import {
  control,
  controls,
  expectMoving,
  expectPictureAndSound,
  energyWithin,
  liveTracks,
  joinCall,
  meetInCall,
  received,
  tile,
  tiles,
  watchCalls,
} from "./call-support";
import { SERVER_GONE, ProtocolClient, enter, expect, post, test, texts } from "./support";

test.beforeEach(async ({ context }) => watchCalls(context));

test("two users see and hear each other, and leaving stops their devices", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await expect(page.getByText("Nobody else is in the call yet")).toBeVisible();
  await expect(other.getByRole("button", { name: "Join call · 1" })).toBeVisible();
  await joinCall(other);
  for (const [viewer, seen] of [
    [page, "Bob"],
    [other, "Ann"],
  ] as const) {
    await expectMoving(viewer, seen);
    await expectPictureAndSound(viewer);
    await expect(tile(viewer, seen).locator(".peer-state")).toHaveText("");
  }
  await control(page, "Mute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await other.waitForTimeout(500);
  expect(await energyWithin(other, 2_500)).toBeLessThan(1e-5);
  await control(page, "Unmute").click();
  await expectPictureAndSound(other);
  // The chat stays usable.
  await post(page, "can you read this?");
  await expect(texts(other)).toHaveText(["can you read this?"]);

  await control(other, "Leave call").click();
  await expect(controls(other)).toBeHidden();
  await expect(tile(page, "Bob")).toHaveCount(0);
  await expect.poll(() => liveTracks(other)).toBe(0);
  expect(await liveTracks(page)).toBe(2);
  await expect(other.getByRole("button", { name: "Join call · 1" })).toBeVisible();

  // Leaving the room leaves the call.
  await page.getByRole("link", { name: "All rooms" }).click();
  await page.getByRole("button", { name: "Leave call" }).last().click();
  await expect.poll(() => liveTracks(page)).toBe(0);
  await expect(other.getByRole("button", { name: "Call", exact: true })).toBeVisible();
});

test("muted microphone stays silent while devices are switched", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  // Muted in the preview.
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.getByRole("button", { name: "Mute", exact: true }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await joinCall(other);
  await expectMoving(other, "Ann");
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  expect(await energyWithin(other, 2_500)).toBeLessThan(1e-6);

  await control(page, "More").click();
  for (const kind of ["Microphone", "Camera"]) {
    const picker = page.getByLabel(kind, { exact: true });
    const choices = await picker
      .locator("option")
      .evaluateAll((options: HTMLOptionElement[]) => options.map((option) => option.value));
    const before = await picker.inputValue();
    const wanted = choices.at(-1)!;
    expect(wanted).not.toBe(before);
    await picker.selectOption(wanted);
    await expect(picker).toHaveValue(wanted);
  }
  await expectMoving(other, "Ann");
  expect(await energyWithin(other, 2_500)).toBeLessThan(1e-6);
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();

  await control(page, "Unmute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeHidden();
  await expectPictureAndSound(other);
  await control(page, "Mute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await other.waitForTimeout(500);
  expect(await energyWithin(other, 2_500)).toBeLessThan(1e-5);
});

test("shared screen replaces the camera until it ends, also for late joiners", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(other, "Ann");
  await control(page, "Share screen").click();
  await expect(tile(other, "Ann")).toHaveClass(/large/);
  await expectMoving(other, "Ann");
  // The screen's sound is a second audio stream.
  await expect(tile(other, "Ann").locator("audio")).toHaveCount(2);
  const late = await person();
  await watchCalls(late.context());
  await enter(late, "garden", "Cleo");
  await joinCall(late);
  await expect(tile(late, "Ann")).toHaveClass(/large/);
  await expectMoving(late, "Ann");
  await control(page, "Share screen").click();
  for (const viewer of [other, late]) {
    await expect(tile(viewer, "Ann")).not.toHaveClass(/large/);
    await expectMoving(viewer, "Ann");
  }
  // Only camera and microphone stay in use.
  await expect.poll(() => liveTracks(page)).toBe(2);
});

test("four users see each other, also after one reloads", async ({ page, person }) => {
  test.slow();
  const pages = [page, await person(), await person(), await person()];
  const names = ["Ann", "Bob", "Cleo", "Dan"];
  for (const [index, each] of pages.entries()) {
    if (index > 0) await watchCalls(each.context());
    await enter(each, "garden", names[index]);
    await joinCall(each);
  }
  const everyoneSeesAll = async () => {
    for (const [index, viewer] of pages.entries()) {
      await expect(tiles(viewer)).toHaveCount(4);
      for (const seen of names.filter((_, other) => other !== index)) await expectMoving(viewer, seen);
      await expectPictureAndSound(viewer);
    }
  };
  await everyoneSeesAll();
  // More participants mean a lower resolution for each.
  expect((await received(page)).width).toBeLessThanOrEqual(640);
  await pages[3].reload();
  await expect(tile(page, "Dan")).toHaveCount(0);
  await joinCall(pages[3]);
  await everyoneSeesAll();
});

test("call survives a lost server connection and a server restart", async ({
  page,
  person,
  server,
  expectedConsole,
}) => {
  test.slow();
  expectedConsole.push(SERVER_GONE);
  const proxy = await TcpProxy.to(server);
  const other = await person({ baseURL: proxy.url });
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(page, "Bob");
  await tile(page, "Bob").evaluate((tile) => tile.setAttribute("data-same", "yes"));
  const expectSameTile = () => expect(tile(page, "Bob")).toHaveAttribute("data-same", "yes");

  // Shorter than the grace period: the peer's tile stays.
  proxy.disconnect();
  await expect(other.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ })).toBeVisible();
  await expectPictureAndSound(page);
  proxy.restore();
  await expect(other.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ })).toBeHidden();
  await expectSameTile();
  await expectPictureAndSound(page);
  // Signaling works again.
  await control(other, "Share screen").click();
  await expect(tile(page, "Bob")).toHaveClass(/large/);
  await expectMoving(page, "Bob");
  await expectSameTile();
  await control(other, "Share screen").click();

  // Longer than the grace period: the peer is removed, and returns with a new peer connection.
  proxy.disconnect();
  await expect(tile(page, "Bob")).toHaveCount(0, { timeout: 20_000 });
  proxy.restore();
  await expectMoving(page, "Bob");
  await expectMoving(other, "Ann");
  await expectPictureAndSound(page);
  await expectPictureAndSound(other);
  await expect(tiles(page)).toHaveCount(2);
  await expect(tiles(other)).toHaveCount(2);
  await tile(page, "Bob").evaluate((tile) => tile.setAttribute("data-same", "yes"));

  // Media continues without the server, and signaling works after its restart.
  await server.stop("SIGKILL");
  await expectPictureAndSound(page);
  await server.start();
  await expect(page.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ })).toBeHidden({
    timeout: 40_000,
  });
  // The other page may reconnect later; its media continues meanwhile.
  await expect(other.getByRole("status").filter({ hasText: /Reconnecting in|Connecting/ })).toBeHidden({
    timeout: 40_000,
  });
  await expectSameTile();
  await control(other, "Share screen").click();
  await expect(tile(page, "Bob")).toHaveClass(/large/, { timeout: 30_000 });
  await expectMoving(page, "Bob");
  proxy.remove();
});

test("unreachable peer is reported with the reason", async ({ page, person }) => {
  const other = await person();
  // As if every direct path were blocked.
  await watchCalls(other.context(), { iceTransportPolicy: "relay" });
  await watchCalls(page.context(), { iceTransportPolicy: "relay" });
  await meetInCall(page, other);
  await expect(tile(page, "Bob")).toContainText("Could not connect", { timeout: 30_000 });
  await expect(tile(page, "Bob")).toContainText("this server has no relay");
});

test("network change triggers an ICE restart", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(page, "Bob");
  const iceUser = () =>
    page.evaluate(() => /a=ice-ufrag:(\S+)/.exec((window as any).peers.at(-1).currentLocalDescription.sdp)?.[1]);
  const before = await iceUser();
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await expect.poll(iceUser).not.toBe(before);
  await expectPictureAndSound(page);
  await expectPictureAndSound(other);
});

test("seventh user sees that the call is full, and the lobby shows the call", async ({ page, server }) => {
  const peers: ProtocolClient[] = [];
  for (const name of ["a", "b", "c", "d", "e", "f"])
    peers.push(await ProtocolClient.inRoom(server, "garden", `Peer ${name}`));
  for (const peer of peers) await peer.request("join_call", { room: peer.id("garden") });
  await page.goto("/");
  await expect(page.getByRole("link", { name: /garden/ })).toContainText("Call · 6");
  await page.getByRole("link", { name: /garden/ }).click();
  await page.getByRole("button", { name: "Join call · 6" }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(page.getByRole("alert")).toContainText("This call is full");
  // Closing a connection frees its slot at once.
  peers.pop()!.close();
  await expect.poll(() => peers[0].frames.some((frame: any) => frame.type === "call_left")).toBe(true);
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(tiles(page)).toHaveCount(6);
  peers.forEach((peer) => peer.close());
  await expect(tiles(page)).toHaveCount(1);
});

test("raised hand, reaction, speaking and volume are shown", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await meetInCall(page, other);
  await expectMoving(page, "Bob");
  await control(other, "Raise hand").click();
  await expect(tile(page, "Bob").getByLabel("Hand raised")).toBeVisible();
  // Late joiners see it, too.
  const late = await person();
  await enter(late, "garden", "Cleo");
  await joinCall(late);
  await expect(tile(late, "Bob").getByLabel("Hand raised")).toBeVisible({ timeout: 20_000 });
  await control(other, "Raise hand").click();
  await expect(tile(page, "Bob").getByLabel("Hand raised")).toBeHidden();
  await control(other, "React").click();
  await other.getByRole("button", { name: "🎉" }).click();
  await expect(tile(page, "Bob").getByText("🎉")).toBeVisible();
  await expect(tile(page, "Bob").getByText("🎉")).toHaveCount(0);
  // The fake microphone beeps.
  await expect(tile(page, "Bob")).toHaveClass(/speaking/, { timeout: 20_000 });
  await control(other, "Mute").click();
  await expect(tile(page, "Bob")).not.toHaveClass(/speaking/);
  await expect(tile(page, "Bob").getByLabel("Muted")).toBeVisible();

  await tile(page, "Bob").hover();
  await page.getByLabel("Volume of Bob").fill("40");
  const volumes = () =>
    tile(page, "Bob")
      .locator("audio")
      .evaluateAll((all: HTMLAudioElement[]) => all.map((audio) => audio.volume));
  await expect.poll(volumes).toEqual([0.4]);
  await page.reload();
  await joinCall(page);
  await expect.poll(volumes).toEqual([0.4]);

  await control(page, "More").click();
  await page.getByRole("button", { name: "Show connection details" }).click();
  await expect(tile(page, "Bob").getByText("Round trip")).toBeVisible();
  await expect(tile(page, "Bob").locator("dd", { hasText: /\d+ × \d+, \d+\/s/ })).toBeVisible({ timeout: 15_000 });
  await expect(tile(page, "Bob").locator("dd", { hasText: "direct" })).toBeVisible();
});

test("keyboard shortcuts work, except while typing", async ({ page }) => {
  await enter(page, "garden", "Ann");
  await joinCall(page);
  await page.locator(".stage").click({ position: { x: 2, y: 2 } });
  await page.keyboard.press("m");
  await expect(control(page, "Unmute")).toBeVisible();
  await page.keyboard.down("Space");
  await expect(control(page, "Mute")).toBeVisible();
  await page.keyboard.up("Space");
  await expect(control(page, "Unmute")).toBeVisible();
  await page.keyboard.press("v");
  await expect(control(page, "Turn camera on")).toBeVisible();
  await expect.poll(() => liveTracks(page)).toBe(1);
  await page.keyboard.press("v");
  await expect(control(page, "Turn camera off")).toBeVisible();
  const share = control(page, "Share screen");
  await page.keyboard.press("s");
  await expect(share).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.press("s");
  await expect(share).toHaveAttribute("aria-pressed", "false");
  await page.keyboard.press("?");
  await expect(page.getByText("Hold to talk while muted")).toBeVisible();
  await page.getByRole("textbox", { name: "Message" }).pressSequentially("mvs ?");
  await expect(control(page, "Unmute")).toBeVisible();
  await expect(control(page, "Turn camera off")).toBeVisible();
  await expect(share).toHaveAttribute("aria-pressed", "false");
});

test("tile can be enlarged and reduced", async ({ page, person }) => {
  const other = await person();
  await meetInCall(page, other);
  await expectMoving(page, "Bob");
  const width = async () => (await tile(page, "Bob").boundingBox())!.width;
  const small = await width();
  await page.getByRole("button", { name: "Enlarge Bob" }).click();
  await expect.poll(width).toBeGreaterThan(small * 1.5);
  await page.getByRole("button", { name: "Show everyone" }).click();
  await expect.poll(width).toBe(small);
  await tile(page, "Bob").hover();
  await tile(page, "Bob").getByRole("button", { name: "Full screen" }).click();
  await expect.poll(() => page.evaluate(() => document.fullscreenElement?.className)).toContain("tile");
  await page.evaluate(() => document.exitFullscreen());
  await tile(page, "Bob").hover();
  await tile(page, "Bob").getByRole("button", { name: "Picture in picture" }).click();
  await expect.poll(() => page.evaluate(() => document.pictureInPictureElement?.tagName)).toBe("VIDEO");
});

for (const scheme of ["light", "dark"] as const) {
  test(`call has no serious accessibility violations (axe, ${scheme})`, async ({ page, person }) => {
    await page.emulateMedia({ colorScheme: scheme });
    const other = await person();
    await enter(page, "garden", "Ann");
    await enter(other, "garden", "Bob");
    await page.getByRole("button", { name: "Call", exact: true }).click();
    await expect(page.getByRole("button", { name: "Join now" })).toBeVisible();
    await expectAccessible(page);
    await page.getByRole("button", { name: "Join now" }).click();
    await joinCall(other);
    await expectMoving(page, "Bob");
    await control(page, "More").click();
    await expectAccessible(page);
  });
}
