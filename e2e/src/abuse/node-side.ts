/** The node's side of an attack: a server of its own that no container may reach, and programs in its namespace. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { built } from "../fixture/programs.js";

/** Where {@link NodeSide.server} listens, at every address of the node. */
export const HOST_PORT = 47_311;
/** Addresses that a cloud's metadata service, and the link, would have. */
const LINK_LOCAL = ["169.254.169.254/32", "fe80::1/64"];

const MOST_OUTPUT_BYTES = 16 * 1024 * 1024;

export class NodeSide {
  readonly #netns: string;
  readonly #server: ChildProcess;

  private constructor(netns: string, server: ChildProcess) {
    this.#netns = netns;
    this.#server = server;
  }

  /** `netns`: name of the node's network namespace. */
  static async start(netns: string): Promise<NodeSide> {
    for (const address of LINK_LOCAL) {
      execFileSync("nsenter", [`--net=/run/netns/${netns}`, "ip", "address", "add", address, "dev", "lo"]);
    }
    const command = [`--net=/run/netns/${netns}`, built("abuse"), "serve", String(HOST_PORT)];
    const server = spawn("nsenter", command, { stdio: ["ignore", "pipe", "inherit"] });
    await once(server.stdout, "data");
    return new NodeSide(netns, server);
  }

  /** Runs a program in the node's own namespace, where nothing protects; returns what it printed. */
  output(command: readonly string[]): string {
    const options = { encoding: "utf8", maxBuffer: MOST_OUTPUT_BYTES } as const;
    return execFileSync("nsenter", [`--net=/run/netns/${this.#netns}`, ...command], options);
  }

  async stop(): Promise<void> {
    const ended = once(this.#server, "exit");
    this.#server.kill("SIGKILL");
    await ended;
  }
}
