// Documents that a proxy, an extension or a translator has changed.
import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import {
  ProtocolClient,
  type Server,
  enter,
  expect,
  post,
  takeName,
  test,
  texts,
  waitUntilJoined,
  write,
} from "./support";

/** A proxy that changes the HTML of pages. */
async function changing(server: Server, edit: (html: string) => string) {
  const { port, host } = new URL(server.url);
  const proxy = createServer((near, answer) => {
    const origin = near.headers.origin ? { origin: server.url } : {};
    const headers = { ...near.headers, host, ...origin, "accept-encoding": "identity" };
    const onward = request({ port, host: "127.0.0.1", method: near.method, path: near.url, headers }, async (back) => {
      if (!back.headers["content-type"]?.startsWith("text/html")) {
        answer.writeHead(back.statusCode!, back.headers);
        back.pipe(answer);
        return;
      }
      const parts = [];
      for await (const part of back) parts.push(part);
      delete back.headers["content-length"];
      delete back.headers["transfer-encoding"];
      answer.writeHead(back.statusCode!, back.headers);
      answer.end(edit(Buffer.concat(parts).toString()));
    });
    onward.on("error", () => answer.destroy());
    near.pipe(onward);
  });
  proxy.on("upgrade", (near, socket) => {
    const onward = connect(Number(port), "127.0.0.1", () => {
      const headers = { ...near.headers, host, origin: server.url };
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      onward.write(`GET ${near.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [onward, socket]) end.on("error", () => end.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    close: () => {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}

const changes: [string, (html: string) => string][] = [
  ["comments are removed", (html) => html.replace(/<!--.*?-->|<!>/g, "")],
  ["an element is inserted first", (html) => html.replace(/<body[^>]*>/, '$&<div class="extension"></div>')],
  ["an element is inserted in the form", (html) => html.replace("</textarea>", "</textarea><span></span>")],
  [
    "a mail address is replaced",
    (html) => html.replace(/>bob@noom.example</, '><span class="protected">[email&#160;protected]</span><'),
  ],
  ["white space is removed", (html) => html.replace(/> +</g, "><")],
  ["nothing is changed", (html) => html],
  // As many nodes as before, but not where hydration needs them: the page reloads once.
  [
    "comments are moved",
    (html) => {
      const body = html.indexOf("<body");
      const comments = /<!--.*?-->|<!>/g;
      const count = html.slice(body).match(comments)!.length;
      const without = html.slice(body).replace(comments, "");
      // Texts that were separated by comments are one text now.
      return html.slice(0, body) + without.replace("</body>", `${"<!---->".repeat(count)}</body>`);
    },
  ],
];
for (const [name, edit] of changes) {
  test(`page works when ${name} on the way`, async ({ page, server, expectedConsole }) => {
    if (name.includes("moved")) expectedConsole.push(/panicked|unreachable|uncaught/);
    const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
    await bob.post("garden", "mail bob@noom.example");
    const proxy = await changing(server, edit);
    // A page that is built in the browser asks for its data; a hydrated page has it.
    let built = 0;
    page.on("request", (request) => (built += Number(request.url().includes("/api/room"))));
    await page.goto(`${proxy.url}/r/garden`);
    await waitUntilJoined(page);
    expect(built).toBe(name.startsWith("nothing") ? 0 : 1);
    await takeName(page, "Ann");
    await post(page, "hello");
    await expect(texts(page)).toHaveText(["mail bob@noom.example", "hello"]);
    await expect(page.getByRole("log").getByText("Sending")).toHaveCount(0);
    await bob.post("garden", "hello Ann");
    await expect(texts(page)).toHaveText(["mail bob@noom.example", "hello", "hello Ann"]);
    await page.getByRole("button", { name: /^Call/ }).click();
    await expect(page.getByRole("button", { name: "Join now" })).toBeVisible();
    await page.close();
    proxy.close();
  });
}

test("counts, names and notices of a translated page follow the room", async ({ page, server }) => {
  const bob = await ProtocolClient.inRoom(server, "garden", "Bob");
  await bob.post("garden", "translate me");
  await enter(page, "garden", "Ann");
  // As browsers translate: each text is replaced by nested elements, except where the page forbids it.
  const translate = () =>
    page.evaluate(() => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const found: Text[] = [];
      while (walker.nextNode()) found.push(walker.currentNode as Text);
      for (const text of found) {
        if (!text.data.trim() || !text.parentElement!.translate || text.parentElement!.closest("script, textarea"))
          continue;
        const [outer, inner] = [document.createElement("font"), document.createElement("font")];
        inner.textContent = `¡${text.data}!`;
        outer.append(inner);
        text.replaceWith(outer);
      }
    });
  await translate();
  await expect(texts(page)).toHaveText(["¡translate me!"]);
  const count = page.locator(".room-title .count");
  await expect(count).toHaveText("2 people");
  const other = await ProtocolClient.inRoom(server, "garden", "Kim");
  await expect(count).toHaveText("3 people");
  await expect(page.getByRole("complementary")).toContainText("Kim");
  await bob.request("typing", { room: bob.id("garden") });
  await expect(page.getByText("is typing…")).toBeVisible();
  await bob.post("garden", "another");
  await expect(texts(page)).toHaveText(["¡translate me!", "another"]);
  other.close();
  await expect(count).toHaveText("2 people");
  await write(page, "x".repeat(4_001));
  await expect(page.getByText("at most 4,000 characters")).toBeVisible();
  await page.getByRole("link", { name: "All rooms" }).click();
  await expect(page.getByRole("link", { name: /garden/ })).toBeVisible();
});
