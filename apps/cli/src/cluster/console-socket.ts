/**
 * The socket of the console, for a controller that runs in another network namespace: it is opened here, where the browser
 * is, and handed over.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { CliError, messageOf } from "../exit-codes.js";

export interface ConsoleSocket {
  readonly descriptor: number;
  /** Our own reference; the controller keeps its own. */
  close(): void;
}

/** On the first of the addresses, HOST:PORT, that is free. */
export async function openConsoleSocket(addresses: readonly string[]): Promise<ConsoleSocket> {
  let reason: unknown;
  for (const address of addresses) {
    const [host, port] = address.split(":");
    const server = createServer();
    try {
      server.listen(Number(port), host);
      await once(server, "listening");
      return { descriptor: descriptorOf(server), close: () => void server.close() };
    } catch (error) {
      reason = error;
    }
  }
  throw new CliError("failed", `the console cannot listen on ${addresses.join(" or ")}: ${messageOf(reason)}`);
}

/** Node.js has no public name for it. */
function descriptorOf(server: Server): number {
  const { _handle: handle } = server as unknown as { readonly _handle?: { readonly fd?: number } };
  if (handle?.fd === undefined || handle.fd < 0) throw new Error("the socket has no descriptor");
  return handle.fd;
}
