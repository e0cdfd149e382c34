// What lies between a page and its server, and what can happen to it.
import { type Socket, connect, createServer } from "node:net";
import type { Server } from "./support";

/** Stands between pages and a server. It can be cut, and it can go silent. */
export class Cable {
  url = "";
  private sockets = new Set<Socket>();
  private whole = true;
  /** Connections that lead nowhere any more. */
  private dead = new Set<Socket>();
  private silent = false;
  private listener = createServer((near) => {
    if (!this.whole) return void near.destroy();
    const far = connect(Number(new URL(this.server.url).port), "127.0.0.1");
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.sockets.delete(socket);
        this.dead.delete(socket);
        other.destroy();
      });
      // What comes in silence is lost, as on a network that is gone: nobody is told.
      socket.on("data", (bytes) => this.silent || this.dead.has(socket) || other.write(bytes));
    }
  });

  private constructor(private server: Server) {}

  static async to(server: Server): Promise<Cable> {
    const cable = new Cable(server);
    await new Promise<void>((resolve) => cable.listener.listen(0, "127.0.0.1", resolve));
    cable.url = `http://127.0.0.1:${(cable.listener.address() as { port: number }).port}`;
    return cable;
  }

  /** Closes all connections, and new ones at once. */
  cut() {
    this.whole = false;
    this.hangUp();
  }

  /** Lets nothing through, and closes nothing. */
  silence() {
    this.silent = true;
  }

  /** Works again; connections from before are closed. */
  mend() {
    this.hangUp();
    this.silent = false;
    this.whole = true;
  }

  /** Works again for new connections; those from before are never heard of again. */
  mendForNew() {
    this.sockets.forEach((socket) => this.dead.add(socket));
    this.silent = false;
    this.whole = true;
  }

  remove() {
    this.cut();
    this.listener.close();
  }

  private hangUp() {
    for (const socket of this.sockets) socket.destroy();
  }
}
