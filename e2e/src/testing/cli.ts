/**
 * The command line as a user has it, with a run directory of its own, so that tests do not meet a cluster that is up on
 * this machine.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = resolve(fileURLToPath(import.meta.url), "../../../../apps/cli/bundle/main.js");

export interface CliResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Cli {
  readonly runDir: string;

  constructor(runDir: string) {
    this.runDir = runDir;
  }

  /** Runs a command to its end. */
  async run(args: readonly string[], input = ""): Promise<CliResult> {
    const child = this.start(args);
    child.stdin?.end(input);
    return ending(child);
  }

  /** Runs a command with `--json` that must succeed, and reads what it prints. */
  async json<Value>(...args: readonly string[]): Promise<Value> {
    const result = await this.run([...args, "--json"]);
    if (result.exitCode !== 0)
      throw new Error(`slimfast ${args.join(" ")}: ${result.exitCode}: ${result.stderr}${result.stdout}`);
    return JSON.parse(result.stdout) as Value;
  }

  /** Starts a command and leaves it running. */
  start(args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [MAIN, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, SLIMFAST_RUN_DIR: this.runDir, CI: "true" },
    });
  }
}

/** Collects the output of a process until it has ended. */
export function ending(child: ChildProcess): Promise<CliResult> {
  const output = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  return new Promise((done) => child.once("close", (exitCode, signal) => done({ ...output, exitCode, signal })));
}

export interface AttachedReport {
  readonly endpoint: { readonly name: string; readonly network: string };
  readonly usage: {
    readonly sockets: number;
    readonly listeners: number;
    /** 64 bits: text. */
    readonly refusedSockets: string;
    readonly refusedListeners: string;
    readonly refusedConnects: string;
    readonly refusedInbound: string;
  };
}

export interface StatusReport {
  readonly ok: boolean;
  readonly nodes: readonly {
    readonly name: string;
    readonly netns: string;
    readonly attached: readonly AttachedReport[] | null;
    readonly agent: { readonly pid: number; readonly counters: Readonly<Record<string, number>> } | null;
  }[];
  readonly controller: {
    readonly endpoints: readonly {
      readonly name: string;
      readonly node: string;
      readonly address: string;
      readonly publishedPorts: readonly { readonly hostPort: number; readonly endpointPort: number }[];
    }[];
  };
}
