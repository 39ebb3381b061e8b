/** Starts `slimfast-bench` and reads the one JSON object that it prints. tools/bench/README.md is the contract. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { CliError } from "../exit-codes.js";
import { rustProduct } from "../paths.js";
import { exec } from "../process/exec.js";

/** Longer than any single measurement. */
const CLIENT_TIMEOUT_MS = 120_000;
const SERVER_READY_MS = 15_000;

export interface ConnectTimes {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly perSecond: number;
}

/** A client run in a network namespace, outside of any endpoint. */
export async function benchInNetns(netns: string, args: readonly string[]): Promise<unknown> {
  const stdout = await exec(rustProduct("slimfast-bench"), args, { netns, timeoutMs: CLIENT_TIMEOUT_MS });
  return JSON.parse(stdout);
}

/** A server in a network namespace, outside of any endpoint. */
export function serveInNetns(netns: string, port: number, options: readonly string[]): ChildProcess {
  const command = [rustProduct("slimfast-bench"), "serve", "--port", String(port), ...options];
  return spawn("nsenter", [`--net=/run/netns/${netns}`, "--", ...command], { stdio: ["ignore", "pipe", "pipe"] });
}

/** Resolves when the server has printed its line. */
export async function serverReady(child: ChildProcess, name: string): Promise<void> {
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new TypeError("the server's output must be a pipe");
  let errors = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const lines = createInterface({ input: stdout });
  const timer = setTimeout(() => child.kill("SIGKILL"), SERVER_READY_MS);
  try {
    for await (const line of lines) {
      if (line.includes('"ready":true')) return;
    }
  } finally {
    clearTimeout(timer);
    // Whatever else it prints must not fill the pipe.
    stdout.resume();
  }
  throw new CliError("failed", `the benchmark's server (${name}) did not start: ${errors.trim() || "no output"}`);
}

/** Ends a server and waits for it. */
export async function stopServer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  await exited;
}
