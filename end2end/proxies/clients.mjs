// Clients that speak the protocol through a proxy: over WebSocket and over the event stream.
import { randomUUID } from "node:crypto";
import http2 from "node:http2";
import https from "node:https";
import { constants, createGunzip } from "node:zlib";
import WebSocket from "ws";

/** The time that anything may take. Buffered events would come much later. */
const PATIENCE = 5_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The options of a TLS connection to a site on this machine, from one of its addresses. */
const connection = ({ host, port }, localAddress) => ({
  host: "127.0.0.1",
  port,
  servername: host,
  rejectUnauthorized: false,
  localAddress,
});

/** Requests a path over HTTP/1.1 and resolves with the response, whose body is not read. */
export function request(site, { from = "127.0.0.1", method = "GET", path = "/", headers = {}, body = "" } = {}) {
  return within(
    new Promise((resolve, reject) => {
      const all = { host: `${site.host}:${site.port}`, ...headers };
      const options = {
        ...connection(site, from),
        agent: false,
        ALPNProtocols: ["http/1.1"],
        method,
        path,
        headers: all,
      };
      https.request(options, resolve).once("error", reject).end(body);
    }),
    `${method} ${path}`,
  );
}

/** Requests the start page over HTTP/2, and returns its headers. */
export async function pageOverHttp2(site) {
  const session = http2.connect(site.url, connection(site));
  try {
    const stream = session.request({ ":path": "/", ":authority": `${site.host}:${site.port}` });
    return await within(
      new Promise((resolve, reject) => {
        session.once("error", reject);
        stream.once("error", reject).once("response", resolve);
      }),
      "a page over HTTP/2",
    );
  } finally {
    session.destroy();
  }
}

/** What both transports have in common. */
class Client {
  frames = [];
  closed = undefined;
  #waiting = [];
  #nextId = 1;

  receive(frame) {
    this.frames.push(frame);
    for (const waiting of [...this.#waiting]) waiting();
  }

  end(reason) {
    this.closed ??= reason;
    for (const waiting of [...this.#waiting]) waiting();
  }

  /** The first frame that matches. */
  until(matches, what) {
    let check;
    const found = new Promise((resolve, reject) => {
      check = () => {
        const frame = this.frames.find(matches);
        if (frame) resolve(frame);
        else if (this.closed !== undefined) reject(new Error(`${what}: the connection ended (${this.closed})`));
      };
      this.#waiting.push(check);
      check();
    });
    return within(found, what).finally(() => {
      this.#waiting = this.#waiting.filter((other) => other !== check);
    });
  }

  async ask(type, payload) {
    const id = this.#nextId++;
    await this.send(JSON.stringify({ type, payload, id }));
    const answer = await this.until((frame) => frame.id === id, type);
    if (answer.type !== "ack") throw new Error(`${type} was refused: ${JSON.stringify(answer)}`);
    return answer.payload;
  }

  post(room, text) {
    return this.ask("new_message", { room, key: randomUUID(), text });
  }

  said(text) {
    return this.until((frame) => frame.type === "new_message" && frame.payload.text === text, `the message "${text}"`);
  }
}

class SocketClient extends Client {
  constructor(socket) {
    super();
    this.socket = socket;
    socket.on("message", (data) => this.receive(JSON.parse(data.toString())));
    socket.on("close", (code) => this.end(code));
  }

  send(text) {
    this.socket.send(text);
  }

  close() {
    this.socket.terminate();
  }
}

/** Opens a WebSocket. Rejects with the status if the upgrade is refused. */
export async function overWebSocket(site, { from = "127.0.0.1", origin = site.url, headers = {} } = {}) {
  const socket = new WebSocket(`wss://${site.host}:${site.port}/ws`, {
    ...connection(site, from),
    headers: { origin, ...headers },
    lookup: (_host, options, done) =>
      options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4),
  });
  const opened = new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("unexpected-response", (_, response) => reject(new Error(`upgrade: ${response.statusCode}`)));
    socket.on("error", reject);
  });
  const client = new SocketClient(socket);
  await within(opened, "a WebSocket");
  await client.ask("hello", { protocol: 2 });
  return client;
}

class EventClient extends Client {
  constructor(site, from, cookie, stream) {
    super();
    Object.assign(this, { site, from, cookie, stream });
    let text = "";
    // A proxy may compress, but must flush each event.
    const isPacked = stream.headers["content-encoding"] === "gzip";
    const plain = isPacked ? stream.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH })) : stream;
    plain.setEncoding("utf8");
    plain.on("error", () => this.end("broken"));
    plain.on("data", (part) => {
      const events = (text + part).split("\n\n");
      text = events.pop();
      for (const event of events) this.#event(event.split("\n"));
    });
    stream.on("close", () => this.end("closed"));
    stream.on("error", () => this.end("broken"));
  }

  #event(lines) {
    const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const [name, data] = [field("event"), field("data")];
    if (name === "token") this.receive({ token: data });
    else if (name === "ping") void this.send("");
    else if (name === undefined && data) this.receive(JSON.parse(data));
  }

  async send(text) {
    const { token } = await this.until((frame) => frame.token, "the token of the event stream");
    const headers = { cookie: this.cookie, origin: this.site.url, "content-length": Buffer.byteLength(text) };
    const path = `/events/${token}`;
    const { statusCode } = await request(this.site, { from: this.from, method: "POST", path, headers, body: text });
    if (statusCode !== 204) throw new Error(`POST of a frame: ${statusCode}`);
  }

  close() {
    this.stream.destroy();
  }
}

/** Opens an event stream, as a browser does that accepts compressed responses. */
export async function overEvents(site, { from = "127.0.0.1" } = {}) {
  const page = await request(site, { from });
  page.resume();
  const cookie = page.headers["set-cookie"][0].split(";")[0];
  const headers = { cookie, accept: "text/event-stream", "accept-encoding": "gzip", "sec-fetch-site": "same-origin" };
  const stream = await request(site, { from, path: "/events", headers });
  if (stream.statusCode !== 200) throw new Error(`event stream: ${stream.statusCode}`);
  const client = new EventClient(site, from, cookie, stream);
  await client.ask("hello", { protocol: 2 });
  return client;
}
