/** The real controller as a process, with a unix socket for the test and TLS on loopback for agents; for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type ControllerClient, connectController } from "@slimfast/client";
import { Role } from "@slimfast/proto";

const MAIN = fileURLToPath(new URL("../../../controller/bundle/main.js", import.meta.url));

export class RealController {
  readonly directory = mkdtempSync(join(tmpdir(), "slimfast-identity-"));
  /** As an administrator. */
  readonly client: ControllerClient;
  readonly #lifetimeSeconds: number;
  readonly #store: string;
  #process: ChildProcess | undefined;
  #address = "127.0.0.1:0";

  /**
   * @param lifetimeSeconds - of certificates
   * @param store - as on the command line; by default its own
   */
  constructor(lifetimeSeconds = 3_600, store?: string) {
    this.#lifetimeSeconds = lifetimeSeconds;
    this.#store = store ?? `sqlite:${join(this.directory, "state")}`;
    this.client = connectController({ address: this.#socket });
  }

  get #socket(): string {
    return `unix:${this.directory}/controller.sock`;
  }

  /** HOST:PORT with TLS; the same after a restart. */
  get address(): string {
    return this.#address;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error("the controller does not run");
    return pid;
  }

  async start(): Promise<void> {
    const args = [
      ...["--listen", this.#socket, this.#address, "--tls", "--store", this.#store],
      ...["--certificate-lifetime", String(this.#lifetimeSeconds / 3_600), "--log-level", "error"],
    ];
    this.#process = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    const { stdout } = this.#process;
    if (!stdout) throw new Error("the controller has no output");
    const [line] = await once(createInterface(stdout), "line");
    const { listening } = JSON.parse(String(line)) as { listening: string[] };
    this.#address = listening[1] ?? "";
  }

  /** Neither answers nor goes away, as on a host that hangs. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  /** At once, also a frozen one; its state stays. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }

  async joinToken(more: { lifetimeSeconds?: number } = {}): Promise<string> {
    const { lifetimeSeconds = 600 } = more;
    const { secret } = await this.client.access.createToken({
      token: { name: `join-${randomBytes(4).toString("hex")}`, role: Role.ROLE_JOIN, usesLeft: 1 },
      lifetime: { seconds: BigInt(lifetimeSeconds) },
    });
    return secret;
  }

  async remove(): Promise<void> {
    this.client.close();
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
