/** The controller that is measured: a process of its own with a state of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CliError } from "../../exit-codes.js";
import { controllerCommand } from "../../paths.js";
import { isReadyLine } from "../../process/daemon.js";
import { residentKib } from "../holdings.js";

/** Of /proc/PID/stat; the kernel shows times to user space in these units on every architecture. */
const TICKS_PER_SECOND = 100;
const STOP_MS = 10_000;

export interface ControllerMemory {
  readonly residentMib: number;
  /** The most it ever had. */
  readonly peakMib: number;
}

export class ControllerProcess {
  /** Its unix socket: whoever opens it is an administrator. */
  readonly listen: string;
  /** `host:port` of the listener for agents, with TLS. */
  address = "";
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #exited: Promise<void>;
  #errors = "";

  private constructor(child: ChildProcess, directory: string, listen: string) {
    this.#child = child;
    this.#directory = directory;
    this.listen = listen;
    this.#exited = new Promise((resolve) => child.once("exit", () => resolve()));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-10_000);
    });
  }

  /**
   * @param store As the controller's `--store`; by default SQLite in a directory of its own.
   * @throws CliError if it does not start.
   */
  static async start(store?: string): Promise<ControllerProcess> {
    const directory = mkdtempSync(join(tmpdir(), "slimfast-bench-control-"));
    const listen = `unix:${directory}/controller.sock`;
    const args = [...controllerCommand(), "--listen", listen, "127.0.0.1:0", "--tls", "--log-level", "warn"];
    args.push("--state-dir", join(directory, "state"));
    if (store !== undefined) args.push("--store", store);
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    const controller = new ControllerProcess(child, directory, listen);
    const { stdout } = child;
    if (!stdout) throw new TypeError("the controller's output must be a pipe");
    try {
      for await (const line of createInterface({ input: stdout })) {
        if (!isReadyLine(line)) continue;
        const { listening } = JSON.parse(line) as { listening: string[] };
        controller.address = listening.find((address) => !address.startsWith("unix:")) ?? "";
        return controller;
      }
    } finally {
      // Whatever else it prints must not fill the pipe.
      stdout.resume();
    }
    await controller.end();
    throw new CliError("failed", `the controller did not start: ${controller.#errors.trim() || "no output"}`);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  memory(): ControllerMemory {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
    return { residentMib: Math.round(residentKib(status) / 1_024), peakMib: Math.round(peak / 1_024) };
  }

  /** Time that it has had on a CPU. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, "utf8");
    // Behind the name, which may contain anything, up to its last bracket.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Stops it and removes its state. */
  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM");
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
      await this.#exited;
      clearTimeout(timer);
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
