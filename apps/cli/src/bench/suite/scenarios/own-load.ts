/** `slimfast-bench` as the load: starting its server, running its modes, reading what they print. */
import { rustProduct } from "../../../paths.js";
import type { Values } from "../metrics.js";
import type { Network, Server } from "../networks/network.js";

export interface OwnTimes {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

const WAIT_SECONDS = 15;

export async function ownLoad(network: Network, args: readonly string[]): Promise<unknown> {
  return JSON.parse(await network.run("client", [rustProduct("slimfast-bench"), ...args]));
}

export function timesOf({ p50Us, p99Us, p999Us }: OwnTimes): Values {
  return { p50Us, p99Us, p999Us };
}

/** @throws CliError with the server's own words if nothing listens */
export async function untilListening(network: Network, server: Server, port: number): Promise<void> {
  try {
    await ownLoad(network, ["wait", "--to", `${server.address}:${port}`, "--seconds", String(WAIT_SECONDS)]);
  } catch (error) {
    const said = server.output();
    if (error instanceof Error && said !== "") error.message += `; the server says: ${said}`;
    throw error;
  }
}

/** Starts a server and waits until it listens; ends it if it does not. */
export async function startListening(
  network: Network,
  name: string,
  port: number,
  command: readonly string[],
): Promise<Server> {
  const server = await network.start("server", name, command);
  try {
    await untilListening(network, server, port);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}
