/**
 * Long-lived processes that outlive this one: started in a session of their own with their output in a log file, ready
 * when a line of it is a JSON object with `"ready":true`.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError } from "../exit-codes.js";
import { identityOf, isAlive, type ProcessIdentity } from "./identity.js";

/** Long, because it is for those that hang: one that ends is noticed at once, and on a busy machine all of it takes its time. */
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 15;
const TAIL_LINES = 20;

export interface DaemonOptions {
  /** For messages: "controller", "agent of node-1". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logPath: string;
  /** Network namespace to start in. */
  readonly netns?: string;
  /** A descriptor of this process that it gets as number 3. */
  readonly descriptor?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts it and returns at once, so that the caller can record the identity before anything else happens.
 *
 * @throws CliError if it could not be started at all, or has ended already.
 */
export function startDaemon(options: DaemonOptions): ProcessIdentity {
  const log = openSync(options.logPath, "w", 0o600);
  try {
    const [program, args] =
      options.netns === undefined
        ? [options.command, options.args]
        : ["nsenter", [`--net=/run/netns/${options.netns}`, "--", options.command, ...options.args]];
    const child = spawn(program, [...args], {
      detached: true,
      stdio: ["ignore", log, log, ...(options.descriptor === undefined ? [] : [options.descriptor])],
      cwd: "/",
      env: { ...process.env, ...options.env },
    });
    // ENOENT comes here; the missing pid below is the same news.
    child.on("error", () => undefined);
    child.unref();
    if (child.pid === undefined) throw new CliError("failed", `${options.name} could not be started: ${program}`);
    const identity = identityOf(child.pid);
    if (!identity) throw endedAtOnce(options);
    return identity;
  } finally {
    closeSync(log);
  }
}

/**
 * What the daemon said when it was ready.
 *
 * @throws CliError with the end of the log if it ends, or is not ready in time.
 */
export async function waitUntilReady(
  daemon: ProcessIdentity,
  options: DaemonOptions,
): Promise<Readonly<Record<string, unknown>>> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const alive = isAlive(daemon);
    const line = readFileSync(options.logPath, "utf8").split("\n").find(isReadyLine);
    if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
    if (!alive) throw endedAtOnce(options);
    if (Date.now() > deadline) {
      throw new CliError(
        "failed",
        `${options.name} was not ready after ${READY_TIMEOUT_MS / 1_000} s:\n${logTail(options.logPath)}`,
      );
    }
    await sleep(POLL_MS);
  }
}

function endedAtOnce(options: DaemonOptions): CliError {
  return new CliError("failed", `${options.name} ended at once:\n${logTail(options.logPath)}`);
}

export function isReadyLine(line: string): boolean {
  if (!line.startsWith("{") || !line.includes('"ready"')) return false;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "ready" in value && value.ready === true;
  } catch {
    return false; // The line is not complete yet.
  }
}

/** The last lines of a log, indented; pino's JSON lines are reduced to their messages. */
export function logTail(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return "  (no log)";
  }
  const lines = text.trimEnd().split("\n").slice(-TAIL_LINES);
  return lines.map((line) => `  ${plainLogLine(line)}`).join("\n");
}

export function plainLogLine(line: string): string {
  if (!line.startsWith("{")) return line;
  try {
    const record = JSON.parse(line) as { msg?: unknown; err?: { message?: unknown } };
    if (typeof record.msg !== "string") return line;
    return typeof record.err?.message === "string" ? `${record.msg}: ${record.err.message}` : record.msg;
  } catch {
    return line;
  }
}
