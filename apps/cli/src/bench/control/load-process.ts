/** The parent's end of a load generator. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { CliError } from "../../exit-codes.js";
import { ROOT } from "../../paths.js";
import type { Answer, Command, Usage } from "./messages.js";

type AnswerOf<Kind extends Answer["kind"]> = Extract<Answer, { readonly kind: Kind }>;

/** Thousands of streams and what they hold: the default heap of a small machine may be less. */
const NODE_OPTIONS = ["--max-old-space-size=4096"];

export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<void>;
  #errors = "";

  /** @param program `agents` or `changes`. @param name For people, where there are several of the program. */
  constructor(program: "agents" | "changes", name: string = program) {
    this.#name = `the load generator (${name})`;
    const file = join(ROOT, `apps/cli/dist/bench/control/${program}-process.js`);
    this.#child = fork(file, [], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: NODE_OPTIONS,
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    this.#exited = new Promise((resolve) => this.#child.once("exit", () => resolve()));
  }

  /**
   * One command at a time.
   *
   * @throws CliError with what went wrong there; the signal's reason.
   */
  ask<Kind extends Answer["kind"]>(
    command: Command,
    kind: Kind,
    signal: AbortSignal,
    progress: (done: number) => void = () => undefined,
  ): Promise<AnswerOf<Kind>> {
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => {
        this.#child.off("message", onMessage);
        this.#child.off("exit", onExit);
        signal.removeEventListener("abort", onAbort);
        end();
      };
      const fail = (message: string) => settle(() => reject(new CliError("failed", `${this.#name}: ${message}`)));
      const onMessage = (answer: Answer) => {
        if (answer.kind === "progress") progress(answer.done);
        else if (answer.kind === "failed") fail(answer.message);
        else if (answer.kind === kind) settle(() => resolve(answer as AnswerOf<Kind>));
      };
      const onExit = () => fail(this.#errors.trim() || "ended without an answer");
      const onAbort = () => settle(() => reject(signal.reason));
      this.#child.on("message", onMessage);
      this.#child.on("exit", onExit);
      signal.addEventListener("abort", onAbort);
      if (signal.aborted) onAbort();
      else this.#child.send(command, (error) => error && fail(error.message));
    });
  }

  async usage(signal: AbortSignal): Promise<Usage> {
    return (await this.ask({ kind: "usage" }, "usage", signal)).usage;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#exited;
  }
}
