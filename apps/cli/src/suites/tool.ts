/** Starts the tools that do the testing, from the root of the checkout, with their output in a log file and in memory. */
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../exit-codes.js";
import { ROOT } from "../paths.js";
import { descendantsOf, type ProcessIdentity, terminate } from "../process/identity.js";
import { openSandbox } from "./sandbox.js";

const LOG_DIRECTORY = join(ROOT, ".slimfast/logs");
const TAIL_LINES = 60;
/** For what a tool that was told to end has left, before it is killed. */
const GRACE_MS = 2_000;

export interface ToolResult {
  readonly exitCode: number;
  /** stdout and stderr as they came. */
  readonly output: string;
}

/** A path for a tool to write to; what an earlier run left there is removed. */
export function scratchFile(name: string): string {
  mkdirSync(LOG_DIRECTORY, { recursive: true });
  const path = join(LOG_DIRECTORY, name);
  rmSync(path, { force: true });
  return path;
}

/** Where a tool runs: on the machine as it is, or in a sandbox, which dies with the tool. */
export interface Surroundings {
  /** Aborted to end the tool. */
  readonly signal: AbortSignal;
  readonly sandboxed: boolean;
  /** A sandbox could not be taken away. What its tool has said stands all the same. */
  onLeftSandbox(why: string): void;
}

export async function runTool(
  logName: string,
  command: string,
  args: readonly string[],
  { signal, sandboxed, onLeftSandbox }: Surroundings,
): Promise<ToolResult> {
  if (!sandboxed) return await spawnTool(logName, [command, ...args], signal, "SIGTERM");
  const sandbox = openSandbox();
  try {
    return await spawnTool(logName, [...sandbox.prefix, command, ...args], signal, "SIGKILL");
  } finally {
    await sandbox.close().catch((error: unknown) => onLeftSandbox(messageOf(error)));
  }
}

function spawnTool(
  logName: string,
  [command = "", ...args]: readonly string[],
  signal: AbortSignal,
  killSignal: NodeJS.Signals,
): Promise<ToolResult> {
  const log = createWriteStream(scratchFile(`${logName}.log`));
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, CI: "true", NX_DAEMON: "false", FORCE_COLOR: "0", CARGO_TERM_COLOR: "never" },
    });
    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      log.write(chunk);
    };
    child.stdout.on("data", onData);
    child.stderr.on("data", onData);
    let startError = "";
    child.on("error", (error) => {
      startError = `${command}: ${error.message}\n`;
    });
    // vitest and cargo end at once, and leave what their tests have started to itself.
    let left: readonly ProcessIdentity[] = [];
    let ending: Promise<unknown> = Promise.resolve();
    const onAbort = () => {
      if (child.pid !== undefined) left = descendantsOf(child.pid);
      child.kill(killSignal);
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    child.on("exit", () => {
      ending = terminate(left, GRACE_MS);
    });
    child.on("close", async (exitCode) => {
      signal.removeEventListener("abort", onAbort);
      log.end();
      await ending;
      resolve({ exitCode: exitCode ?? 1, output: startError + Buffer.concat(chunks).toString("utf8") });
    });
  });
}

/** Why nothing can run in a sandbox here; null if it can. */
export async function trySandbox(signal: AbortSignal): Promise<string | null> {
  try {
    let left: string | null = null;
    const onLeftSandbox = (why: string) => {
      left = why;
    };
    const { exitCode, output } = await runTool("test-sandbox", "true", [], { signal, sandboxed: true, onLeftSandbox });
    return exitCode === 0 ? left : lastLines(output, 1);
  } catch (error) {
    return messageOf(error);
  }
}

/** The end of an output, where tools say what went wrong. */
export function lastLines(output: string, count: number = TAIL_LINES): string {
  return output.trimEnd().split("\n").slice(-count).join("\n");
}
