/** A `slimfast-bench` that goes on running: an object per line on its stdout, and it ends when its stdin does. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { CliError } from "../exit-codes.js";

/** Longer than any of them takes for a line. */
const LINE_TIMEOUT_MS = 30_000;

export class BenchProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<void>;
  #errors = "";

  /** @param child with pipes for stdin, stdout and stderr. @param name for messages */
  constructor(child: ChildProcess, name: string) {
    const { stdout, stderr } = child;
    if (!child.stdin || !stdout || !stderr) throw new TypeError("stdin, stdout and stderr must be pipes");
    this.#child = child;
    this.#name = name;
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    this.#exited = new Promise((resolve) => child.once("exit", () => resolve()));
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    // A process that has ended without reading says why on its stderr.
    child.stdin.on("error", () => undefined);
  }

  /** The next object. @throws CliError with the process's own words if it ends instead */
  async next(): Promise<unknown> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LINE_TIMEOUT_MS);
    try {
      const line = await this.#lines.next();
      if (!line.done) return JSON.parse(line.value);
    } finally {
      clearTimeout(timer);
    }
    await this.#exited;
    throw new CliError("failed", `${this.#name}: ${this.#errors.trim() || "ended without a result"}`);
  }

  /** Asks for one more object by an empty line. */
  async request(): Promise<unknown> {
    this.#child.stdin?.write("\n");
    return this.next();
  }

  /** Idempotent. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.stdin?.end();
    await this.#exited;
  }
}
