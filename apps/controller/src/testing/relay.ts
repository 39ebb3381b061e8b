/** A TCP relay on loopback that can be cut, as a network between two machines can. */
import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";

export class Relay {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #isCut = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param target `HOST:PORT` @param localAddress From which it connects; all of 127.0.0.0/8 is the machine's own. */
  static async start(target: string, localAddress?: string): Promise<Relay> {
    const [host = "", port = ""] = target.split(":");
    const server = createServer((near) => {
      if (relay.#isCut) {
        near.destroy();
        return;
      }
      const far = createConnection({ host, port: Number(port), ...(localAddress && { localAddress }) });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        relay.#open.add(one);
        one.on("error", () => undefined);
        one.on("close", () => {
          relay.#open.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    const relay = new Relay(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return relay;
  }

  get address(): string {
    const address = this.#server.address();
    if (typeof address !== "object" || !address) throw new Error("the relay is closed");
    return `127.0.0.1:${address.port}`;
  }

  /** Ends all connections and refuses new ones. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#open) socket.destroy();
  }

  restore(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
