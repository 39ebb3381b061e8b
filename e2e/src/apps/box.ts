/**
 * A container as far as a program can tell: a network namespace with an address, in which programs are started. Either
 * an endpoint, whose TCP sockets are the host's, or an ordinary namespace to compare with. Several programs may be in
 * one, as several processes are in a container.
 */
import { execFileSync, spawn } from "node:child_process";
import { rustProduct } from "@slimfast/cli";
import { Background, Output } from "../fixture/background.js";
import type { Cluster } from "../fixture/cluster.js";
import { PLAIN_ADDRESS } from "../fixture/surroundings.js";
import { type CliResult, ending } from "../testing/cli.js";

/** `auto`: `preload` for all but static programs. */
export type Tier = "notify" | "auto";

/** When a program counts as started. */
export type Ready = { readonly port: number } | { readonly prints: RegExp };

/** Connects until somebody listens; ADDRESS PORT. */
const CONNECT = 'until (exec 3<>"/dev/tcp/$0/$1") 2>/dev/null; do sleep 0.05; done';

export class Box {
  /** Of the network's family. */
  readonly address: string;
  /** The same as URLs have it, and `HOST:PORT`. */
  readonly host: string;
  readonly #name: string;
  /** What starts a command in it. */
  readonly #enter: readonly string[];
  readonly #remove: () => Promise<void>;
  readonly #programs: Background[] = [];

  private constructor(name: string, address: string, enter: readonly string[], remove: () => Promise<void>) {
    this.#name = name;
    this.address = address;
    this.host = address.includes(":") ? `[${address}]` : address;
    this.#enter = enter;
    this.#remove = remove;
  }

  /** `wanted`: an address of the network; a free one if it is not given. */
  static async endpoint(
    cluster: Cluster,
    node: string,
    name: string,
    tier: Tier,
    network = "default",
    wanted = "",
  ): Promise<Box> {
    const { local } = cluster.agent(node);
    const { seccompSocket } = await local.getStatus({});
    const { endpoint: attached } = await local.attachEndpoint({ name, network, address: wanted });
    if (!attached?.endpoint) throw new Error("the agent answered without an endpoint");
    const enter = [
      ...[rustProduct("slimfast-launch"), "--netns", attached.netnsPath, "--seccomp-socket", seccompSocket],
      ...["--metadata", attached.listenerMetadata, "--tier", tier],
      ...["--preload-lib", rustProduct("libslimfast_preload.so"), "--"],
    ];
    const { address, address6 } = attached.endpoint;
    return new Box(name, address || address6, enter, async () => {
      await local.detachEndpoint({ name, network });
    });
  }

  /** `namespace`: a name that no namespace has yet. */
  static plain(namespace: string): Box {
    execFileSync("ip", ["netns", "add", namespace]);
    const enter = ["nsenter", `--net=/run/netns/${namespace}`, "--"];
    for (const line of ["link set lo up", `address add ${PLAIN_ADDRESS}/32 dev lo`]) {
      execFileSync("ip", ["-netns", namespace, ...line.split(" ")]);
    }
    return new Box(namespace, PLAIN_ADDRESS, enter, async () => {
      execFileSync("ip", ["netns", "delete", namespace]);
    });
  }

  /** Starts a program and waits until it is ready. It is stopped with the box, if not before. */
  async start(command: readonly string[], ready: Ready): Promise<Background> {
    const [program = "", ...args] = [...this.#enter, ...command];
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    const output = new Output(child);
    const name = `${command[0]} in ${this.#name}`;
    const background = new Background({ name, node: "", address: this.address }, child, output);
    this.#programs.push(background);
    if ("prints" in ready) {
      await background.prints(ready.prints);
    } else {
      const died = background.ended.then(() => output.assertRunning(name));
      await Promise.race([died, this.output(["bash", "-c", CONNECT, this.address, String(ready.port)])]);
    }
    return background;
  }

  /** Runs a program to its end, whatever that is. */
  run(command: readonly string[], input = ""): Promise<CliResult> {
    const [program = "", ...args] = [...this.#enter, ...command];
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    // It may end without having read all of it.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    return ending(child);
  }

  /** As `run`, for a program that must succeed; returns what it printed. */
  async output(command: readonly string[], input = ""): Promise<string> {
    const { stdout, stderr, exitCode, signal } = await this.run(command, input);
    if (exitCode !== 0) {
      throw new Error(`${command.join(" ")} in ${this.#name}: ${signal ?? exitCode}:\n${stdout}${stderr}`);
    }
    return stdout;
  }

  /** Ends its programs and removes it. */
  async close(): Promise<void> {
    await this.stopPrograms();
    await this.#remove();
  }

  async stopPrograms(): Promise<void> {
    // The last one first: it may be a client of the others.
    for (const program of this.#programs.reverse()) await program.stop();
  }
}
