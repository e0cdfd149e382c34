// Rooms with many people, and people who come and go.
import { enter, expect, memberNames, ProtocolClient, Server, test } from "./support";

const crowd = test.extend({
  // More connections from one address than the default.
  server: async ({}, use) => {
    const server = new Server({ NOOM_LIMITS_CONNECTIONS_PER_ADDRESS: "1000" });
    await server.start();
    await use(server);
    await server.remove();
  },
});

crowd("a crowded room shows its number and loads members on demand", async ({ page, server }) => {
  const arrive = (first: number, count: number) =>
    Promise.all(Array.from({ length: count }, (_, n) => ProtocolClient.inRoom(server, "hall", `Person ${first + n}`)));
  const people = await arrive(0, 130);
  await page.goto("/r/hall");
  const aside = page.getByRole("complementary");
  const button = (name: string | RegExp) => aside.getByRole("button", { name });
  const [names, count] = [memberNames(page), page.locator(".room-title .count")];
  await expect(aside.locator(".you")).toBeVisible();
  await expect(names).toHaveCount(101);
  await expect(count).toHaveText("131 people");
  await button("Show more").click();
  await expect(names).toHaveCount(131);

  people.push(...(await arrive(130, 20)));
  await expect(count).toHaveText("151 people", { timeout: 15_000 });
  await expect(names).toHaveCount(131);
  await button("Show who is here now").click();
  await button("Show more").click();
  await expect(names).toHaveCount(151);

  // The crowd dissolves: the list is complete again, and changes with each departure.
  for (const person of people.splice(5)) await person.request("leave_room", { room: person.id("hall") });
  await expect(names).toHaveCount(6);
  await expect(button(/^Show/)).toHaveCount(0);
  await people[0].request("leave_room", { room: people[0].id("hall") });
  await expect(names).toHaveCount(5);
});

test("arrivals and departures in a row are folded", async ({ page, server }) => {
  await enter(page, "garden");
  const log = page.getByRole("log");
  const people = [];
  for (const name of ["Ann", "Bob", "Cat", "Dan", "Eve"]) {
    people.push(await ProtocolClient.inRoom(server, "garden", name));
  }
  await expect(log.locator(".event")).toHaveText("Ann, Bob, Cat and 2 more joined");
  await people[1].request("leave_room", { room: people[1].id("garden") });
  await expect(log.locator(".event")).toHaveText("Ann, Cat, Dan and 1 more joined · Bob left");
  await people[0].post("garden", "hello");
  await people[0].request("leave_room", { room: people[0].id("garden") });
  await expect(log.locator(".event")).toHaveText(["Ann, Cat, Dan and 1 more joined · Bob left", "Ann left"]);
});
