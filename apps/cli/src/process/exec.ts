/** Short-lived helper programs (`ip`, `ss`, …): run to their end, output captured, never through a shell. */
import { execFile } from "node:child_process";
import { CliError } from "../exit-codes.js";

export interface ExecOptions {
  /** Name of a network namespace under /run/netns to run in. */
  readonly netns?: string;
  /** Milliseconds; then the program is killed. Default 30,000. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Default: nothing. */
  readonly input?: string;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** 128 + n if it was ended by signal n; 127 if there is no such program. */
  readonly exitCode: number;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Runs a program and returns how it ended, whatever that is. */
export function tryExec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  // Not `ip netns exec`: it mounts a new /sys, which hides the cgroup mounts.
  const [program, argv] =
    options.netns === undefined
      ? [command, args]
      : ["nsenter", [`--net=/run/netns/${options.netns}`, "--", command, ...args]];
  return new Promise((resolve) => {
    const child = execFile(
      program,
      [...argv],
      {
        timeout: options.timeoutMs ?? 30_000,
        killSignal: "SIGKILL",
        maxBuffer: MAX_OUTPUT_BYTES,
        env: { ...process.env, LC_ALL: "C", ...options.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        if (!error) return resolve({ stdout, stderr, exitCode: 0 });
        if (typeof error.code === "number") return resolve({ stdout, stderr, exitCode: error.code });
        if (error.code === "ENOENT") return resolve({ stdout, stderr: `${program}: not found`, exitCode: 127 });
        resolve({ stdout, stderr: stderr || error.message, exitCode: 128 + (error.signal === "SIGKILL" ? 9 : 15) });
      },
    );
    // A program that ends without reading its input is no failure of ours.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/**
 * Runs a program that must succeed; returns its stdout.
 *
 * @throws CliError with the program's own words.
 */
export async function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
  const result = await tryExec(command, args, options);
  if (result.exitCode !== 0) {
    const where = options.netns === undefined ? "" : ` in ${options.netns}`;
    const said = (result.stderr.trim() || result.stdout.trim() || `exit code ${result.exitCode}`).slice(-2_000);
    throw new CliError("failed", `${[command, ...args].join(" ")}${where}: ${said}`);
  }
  return result.stdout;
}
