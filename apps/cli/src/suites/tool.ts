/** Starts the tools that do the testing, from the root of the checkout, with their output in a log file and in memory. */
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../paths.js";

const LOG_DIRECTORY = join(ROOT, ".slimfast/logs");
const TAIL_LINES = 60;

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

export function runTool(
  logName: string,
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<ToolResult> {
  const log = createWriteStream(scratchFile(`${logName}.log`));
  return new Promise((resolve) => {
    const child = spawn(command, [...args], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      signal,
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
    child.on("close", (exitCode) => {
      log.end();
      resolve({ exitCode: exitCode ?? 1, output: startError + Buffer.concat(chunks).toString("utf8") });
    });
  });
}

/** The end of an output, where tools say what went wrong. */
export function lastLines(output: string, count: number = TAIL_LINES): string {
  return output.trimEnd().split("\n").slice(-count).join("\n");
}
