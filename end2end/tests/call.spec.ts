import { expectAccessible } from "./accessible";
import { Cable } from "./cable";
import { control, controls, expectMoving, expectPictureAndSound, heardWithin, inUse, joinCall, received, tile, tiles, watchCalls } from "./call-support";
import { SERVER_GONE, Somebody, enter, expect, say, test, texts } from "./support";

test.beforeEach(async ({ context }) => watchCalls(context));

test("two people see and hear each other, and the lights go off when they leave", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await expect(page.getByText("Nobody else is in the call yet")).toBeVisible();
  await expect(other.getByRole("button", { name: "Join call · 1" })).toBeVisible();
  await joinCall(other);
  for (const [viewer, seen] of [[page, "Bob"], [other, "Ann"]] as const) {
    await expectMoving(viewer, seen);
    await expectPictureAndSound(viewer);
    await expect(tile(viewer, seen).locator(".link")).toHaveText("");
  }
  // Whoever joined with a microphone that is on can turn it off, and on again.
  await control(page, "Mute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await other.waitForTimeout(500);
  expect(await heardWithin(other, 2_500)).toBeLessThan(1e-5);
  await control(page, "Unmute").click();
  await expectPictureAndSound(other);
  // The talk goes on beside it.
  await say(page, "can you read this?");
  await expect(texts(other)).toHaveText(["can you read this?"]);

  await control(other, "Leave the call").click();
  await expect(controls(other)).toBeHidden();
  await expect(tile(page, "Bob")).toHaveCount(0);
  await expect.poll(() => inUse(other)).toBe(0);
  expect(await inUse(page)).toBe(2);
  await expect(other.getByRole("button", { name: "Join call · 1" })).toBeVisible();

  // To leave the room is to leave the call.
  await page.getByRole("link", { name: "All rooms" }).click();
  await expect.poll(() => inUse(page)).toBe(0);
  await expect(other.getByRole("button", { name: "Call", exact: true })).toBeVisible();
});

test("a muted microphone is silent, whatever is switched meanwhile", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  // Muted before joining, too.
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.getByRole("button", { name: "Mute", exact: true }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await joinCall(other);
  await expectMoving(other, "Ann");
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  expect(await heardWithin(other, 2_500)).toBeLessThan(1e-6);

  await control(page, "More").click();
  for (const kind of ["Microphone", "Camera"]) {
    const picker = page.getByLabel(kind, { exact: true });
    const choices = await picker.locator("option").evaluateAll((options: HTMLOptionElement[]) => options.map((option) => option.value));
    const before = await picker.inputValue();
    const wanted = choices.at(-1)!;
    expect(wanted).not.toBe(before);
    await picker.selectOption(wanted);
    await expect(picker).toHaveValue(wanted);
  }
  await expectMoving(other, "Ann");
  expect(await heardWithin(other, 2_500)).toBeLessThan(1e-6);
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();

  await control(page, "Unmute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeHidden();
  await expectPictureAndSound(other);
  await control(page, "Mute").click();
  await expect(tile(other, "Ann").getByLabel("Muted")).toBeVisible();
  await other.waitForTimeout(500);
  expect(await heardWithin(other, 2_500)).toBeLessThan(1e-5);
});

test("a shared screen takes the camera's place and gives it back, and latecomers see it", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
  await expectMoving(other, "Ann");
  await control(page, "Share screen").click();
  await expect(tile(other, "Ann")).toHaveClass(/large/);
  await expectMoving(other, "Ann");
  // The screen has a sound of its own, beside the microphone's.
  await expect(tile(other, "Ann").locator("audio")).toHaveCount(2);
  const late = await person();
  await watchCalls(late.context());
  await enter(late, "garden", "Cleo");
  await joinCall(late);
  await expect(tile(late, "Ann")).toHaveClass(/large/);
  await expectMoving(late, "Ann");
  await control(page, "Stop sharing").click();
  for (const viewer of [other, late]) {
    await expect(tile(viewer, "Ann")).not.toHaveClass(/large/);
    await expectMoving(viewer, "Ann");
  }
  // Only camera and microphone are left in use.
  await expect.poll(() => inUse(page)).toBe(2);
});

test("four people see each other, and one reloads", async ({ page, person }) => {
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
  // The more there are, the less each is sent.
  expect((await received(page)).width).toBeLessThanOrEqual(640);
  await pages[3].reload();
  await expect(tile(page, "Dan")).toHaveCount(0);
  await joinCall(pages[3]);
  await everyoneSeesAll();
});

test("a call outlives a cut connection to the server, and a restart of it", async ({ page, person, server, expectedConsole }) => {
  test.slow();
  expectedConsole.push(SERVER_GONE);
  const cable = await Cable.to(server);
  const other = await person({ baseURL: cable.url });
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
  await expectMoving(page, "Bob");
  await tile(page, "Bob").evaluate((tile) => tile.setAttribute("data-same", "yes"));
  const stillTheSame = () => expect(tile(page, "Bob")).toHaveAttribute("data-same", "yes");

  // Shorter than the grace: the others see nothing of it.
  cable.cut();
  await expect(other.getByRole("status").filter({ hasText: /Trying again|Connecting/ })).toBeVisible();
  await expectPictureAndSound(page);
  cable.mend();
  await expect(other.getByRole("status").filter({ hasText: /Trying again|Connecting/ })).toBeHidden();
  await stillTheSame();
  await expectPictureAndSound(page);
  // What needs the server works again.
  await control(other, "Share screen").click();
  await expect(tile(page, "Bob")).toHaveClass(/large/);
  await expectMoving(page, "Bob");
  await stillTheSame();
  await control(other, "Stop sharing").click();

  // Longer: they are gone, and back in a connection of its own.
  cable.cut();
  await expect(tile(page, "Bob")).toHaveCount(0, { timeout: 20_000 });
  cable.mend();
  await expectMoving(page, "Bob");
  await expectMoving(other, "Ann");
  await expectPictureAndSound(page);
  await expectPictureAndSound(other);
  await expect(tiles(page)).toHaveCount(2);
  await expect(tiles(other)).toHaveCount(2);
  await tile(page, "Bob").evaluate((tile) => tile.setAttribute("data-same", "yes"));

  // The server is away: pictures and sound go on without it, and the call is whole afterwards.
  await server.stop("SIGKILL");
  await expectPictureAndSound(page);
  await server.start();
  await expect(page.getByRole("status").filter({ hasText: /Trying again|Connecting/ })).toBeHidden({ timeout: 40_000 });
  // However long the other's page waits before it tries again: one sees and hears them all the while.
  await expect(other.getByRole("status").filter({ hasText: /Trying again|Connecting/ })).toBeHidden({ timeout: 40_000 });
  await stillTheSame();
  await control(other, "Share screen").click();
  await expect(tile(page, "Bob")).toHaveClass(/large/, { timeout: 30_000 });
  await expectMoving(page, "Bob");
  cable.remove();
});

test("when no way leads to somebody the page says so, and why", async ({ page, person }) => {
  const other = await person();
  // As if every direct way were blocked.
  await watchCalls(other.context(), { iceTransportPolicy: "relay" });
  await watchCalls(page.context(), { iceTransportPolicy: "relay" });
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
  await expect(tile(page, "Bob")).toContainText("No connection could be made", { timeout: 30_000 });
  await expect(tile(page, "Bob")).toContainText("this server names no relay");
});

test("another network, and the connection finds its way anew", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
  await expectMoving(page, "Bob");
  const ways = () => page.evaluate(() => /a=ice-ufrag:(\S+)/.exec((window as any).peers.at(-1).currentLocalDescription.sdp)?.[1]);
  const before = await ways();
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await expect.poll(ways).not.toBe(before);
  await expectPictureAndSound(page);
  await expectPictureAndSound(other);
});

test("the seventh is told kindly, and the list of rooms shows the call", async ({ page, person, server }) => {
  const talkers: Somebody[] = [];
  for (const name of ["a", "b", "c", "d", "e", "f"]) talkers.push(await Somebody.inRoom(server, "garden", `Talker ${name}`));
  for (const talker of talkers) await talker.ask("join_call", { room: "garden" });
  await page.goto("/");
  await expect(page.getByRole("link", { name: /garden/ })).toContainText("Call · 6");
  await page.getByRole("link", { name: /garden/ }).click();
  await page.getByRole("button", { name: "Join call · 6" }).click();
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(page.getByRole("alert")).toContainText("This call is full");
  // The place of a page that was closed is free at once.
  talkers.pop()!.close();
  await expect.poll(() => talkers[0].frames.some((frame: any) => frame.type === "call_left")).toBe(true);
  await page.getByRole("button", { name: "Join now" }).click();
  await expect(tiles(page)).toHaveCount(6);
  talkers.forEach((talker) => talker.close());
  await expect(tiles(page)).toHaveCount(1);
});

test("hands, reactions, who speaks, and how loud", async ({ page, person }) => {
  const other = await person();
  await watchCalls(other.context());
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
  await expectMoving(page, "Bob");
  await control(other, "Raise hand").click();
  await expect(tile(page, "Bob").getByLabel("Hand raised")).toBeVisible();
  // Somebody who comes later sees it too.
  const late = await person();
  await enter(late, "garden", "Cleo");
  await joinCall(late);
  await expect(tile(late, "Bob").getByLabel("Hand raised")).toBeVisible({ timeout: 20_000 });
  await control(other, "Lower hand").click();
  await expect(tile(page, "Bob").getByLabel("Hand raised")).toBeHidden();
  await control(other, "React").click();
  await other.getByRole("button", { name: "🎉" }).click();
  await expect(tile(page, "Bob").getByText("🎉")).toBeVisible();
  await expect(tile(page, "Bob").getByText("🎉")).toHaveCount(0);
  // The microphone that is not there beeps.
  await expect(tile(page, "Bob")).toHaveClass(/speaking/, { timeout: 20_000 });
  await control(other, "Mute").click();
  await expect(tile(page, "Bob")).not.toHaveClass(/speaking/);
  await expect(tile(page, "Bob").getByLabel("Muted")).toBeVisible();

  await tile(page, "Bob").hover();
  await page.getByLabel("Volume of Bob").fill("40");
  const volumes = () => tile(page, "Bob").locator("audio").evaluateAll((all: HTMLAudioElement[]) => all.map((audio) => audio.volume));
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

test("keys do what the buttons do, but not while one writes", async ({ page }) => {
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
  await expect.poll(() => inUse(page)).toBe(1);
  await page.keyboard.press("v");
  await expect(control(page, "Turn camera off")).toBeVisible();
  await page.keyboard.press("s");
  await expect(control(page, "Stop sharing")).toBeVisible();
  await page.keyboard.press("s");
  await expect(control(page, "Share screen")).toBeVisible();
  await page.keyboard.press("?");
  await expect(page.getByText("hold to talk while muted")).toBeVisible();
  await page.getByRole("textbox", { name: "Message" }).pressSequentially("mvs ?");
  await expect(control(page, "Unmute")).toBeVisible();
  await expect(control(page, "Turn camera off")).toBeVisible();
  await expect(control(page, "Share screen")).toBeVisible();
});

test("a tile can be made large, and small again", async ({ page, person }) => {
  const other = await person();
  await enter(page, "garden", "Ann");
  await enter(other, "garden", "Bob");
  await joinCall(page);
  await joinCall(other);
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
  test(`nobody is kept out of a call (axe, ${scheme})`, async ({ page, person }) => {
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
