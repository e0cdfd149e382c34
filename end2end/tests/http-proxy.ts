// A proxy between a page and its server that blocks WebSocket.
import { type IncomingMessage, type Server as Http, createServer, request } from "node:http";
import { type Socket, connect } from "node:net";
import type { Server } from "./support";

/** An HTTP proxy that forwards requests and handles WebSocket upgrades as configured. */
export class HttpProxy {
  url = "";
  /** The handling of upgrades. `hang` answers nothing; `swallow` drops what the page sends. */
  upgrades: "pass" | "refuse" | "hang" | "swallow" = "refuse";
  /** Removes the cookies of requests, as a browser that blocks them does. */
  blocksCookies = false;
  private sockets = new Set<Socket>();
  private listener: Http;
  /** The next POST request is held. */
  private held?: { arrived: () => void; released: Promise<void> };

  private constructor(server: Server) {
    const far = () => Number(new URL(server.url).port);
    // The server must see its own address as host and origin.
    const headers = (near: IncomingMessage) => {
      const { cookie, ...others } = near.headers;
      const origin = others.origin ? { origin: server.url } : {};
      const cookies = cookie && !this.blocksCookies ? { cookie } : {};
      return { ...others, ...cookies, host: new URL(server.url).host, ...origin };
    };
    this.listener = createServer(async (near, answer) => {
      const { method, url: path } = near;
      if (this.held && method === "POST") {
        const { arrived, released } = this.held;
        this.held = undefined;
        arrived();
        await released;
        if (near.destroyed) return;
      }
      const onward = request(
        { port: far(), host: "127.0.0.1", agent: false, method, path, headers: headers(near) },
        (back) => {
          answer.writeHead(back.statusCode!, back.headers);
          answer.flushHeaders();
          back.pipe(answer);
          back.on("error", () => answer.destroy());
        },
      );
      onward.on("error", () => answer.destroy());
      answer.on("close", () => onward.destroy());
      near.pipe(onward);
    });
    this.listener.on("connection", (socket) => this.keep(socket));
    this.listener.on("upgrade", (near: IncomingMessage, socket: Socket) => {
      if (this.upgrades === "refuse") return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
      if (this.upgrades === "hang") return;
      const onward = connect(far(), "127.0.0.1", () => {
        const lines = Object.entries(headers(near)).map(([name, value]) => `${name}: ${value}\r\n`);
        onward.write(`GET ${near.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
        onward.pipe(socket);
        if (this.upgrades === "pass") socket.pipe(onward);
      });
      this.keep(onward);
      socket.on("close", () => onward.destroy());
      onward.on("close", () => socket.destroy());
    });
  }

  static async to(server: Server, upgrades: HttpProxy["upgrades"] = "refuse"): Promise<HttpProxy> {
    const proxy = new HttpProxy(server);
    proxy.upgrades = upgrades;
    await new Promise<void>((resolve) => proxy.listener.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${(proxy.listener.address() as { port: number }).port}`;
    return proxy;
  }

  /** Holds the next POST request. Returns when it has arrived, with a function that forwards it. */
  async holdPost(send: () => Promise<void>): Promise<() => void> {
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const arrived = new Promise<void>((resolve) => (this.held = { arrived: resolve, released }));
    await send();
    await arrived;
    return release;
  }

  private keep(socket: Socket) {
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
  }

  remove() {
    this.listener.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
