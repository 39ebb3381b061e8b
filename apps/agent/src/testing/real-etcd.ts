/** A real etcd of one member, for tests of the agent with several controllers. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.js";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class RealEtcd {
  readonly #directory = mkdtempSync(join(tmpdir(), "slimfast-agent-etcd-"));
  #process: ChildProcess | undefined;
  #host = "";

  /** As the controller's option has it. */
  get store(): string {
    return `etcd:${this.#host}`;
  }

  async start(): Promise<void> {
    const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const args = [
      ...["--data-dir", join(this.#directory, "data"), "--name", "one", "--initial-cluster", `one=${peer}`],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--log-level", "error"],
    ];
    this.#host = client.replace("http://", "");
    this.#process = spawn("etcd", args, { stdio: "ignore" });
    const failure = new Promise<never>((_, reject) => {
      this.#process?.once("error", (cause) =>
        reject(new Error("etcd did not start: is etcd-server installed?", { cause })),
      );
    });
    const healthy = eventually(async () => {
      if (!(await fetch(`${client}/health`)).ok) throw new Error("etcd is not healthy");
    }, 30_000);
    await Promise.race([healthy, failure]);
  }

  async remove(): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
