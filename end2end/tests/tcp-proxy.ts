// Network faults between a page and its server.
import { type Socket, connect, createServer } from "node:net";
import type { Server } from "./support";

/** A TCP proxy in front of a server, which can close connections or drop their traffic. */
export class TcpProxy {
  url = "";
  private sockets = new Set<Socket>();
  private accepting = true;
  /** Connections whose traffic is dropped until they close. */
  private dead = new Set<Socket>();
  private dropping = false;
  private listener = createServer((near) => {
    if (!this.accepting) return void near.destroy();
    const far = connect(Number(new URL(this.server.url).port), "127.0.0.1");
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.sockets.delete(socket);
        this.dead.delete(socket);
        other.destroy();
      });
      // Dropped without closing the connection, as on a network that is gone.
      socket.on("data", (bytes) => this.dropping || this.dead.has(socket) || other.write(bytes));
    }
  });

  private constructor(private server: Server) {}

  static async to(server: Server): Promise<TcpProxy> {
    const proxy = new TcpProxy(server);
    await new Promise<void>((resolve) => proxy.listener.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${(proxy.listener.address() as { port: number }).port}`;
    return proxy;
  }

  /** Closes all connections, and each new one at once. */
  disconnect() {
    this.accepting = false;
    this.closeAll();
  }

  /** Drops all traffic and keeps connections open. */
  dropTraffic() {
    this.dropping = true;
  }

  /** Ends the fault and closes the connections that were open during it. */
  restore() {
    this.closeAll();
    this.dropping = false;
    this.accepting = true;
  }

  /** Ends the fault for new connections; earlier ones stay open and drop their traffic. */
  restoreForNew() {
    this.sockets.forEach((socket) => this.dead.add(socket));
    this.dropping = false;
    this.accepting = true;
  }

  remove() {
    this.disconnect();
    this.listener.close();
  }

  private closeAll() {
    for (const socket of this.sockets) socket.destroy();
  }
}
