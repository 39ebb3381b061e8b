/**
 * Which process is meant: a pid alone is given out again after its process has ended, a pid with its start time is not.
 * Everything that is killed is killed through here.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fieldsAfterName, readProcesses, treesOf } from "./tree.js";

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot, as text. */
  readonly startTime: string;
}

/** The identity of a process that exists now; null if there is none. A zombie is none: it holds nothing any more. */
export function identityOf(pid: number): ProcessIdentity | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return null;
  }
  const fields = fieldsAfterName(stat);
  const [state] = fields;
  const startTime = fields[19];
  if (startTime === undefined || state === "Z" || state === "X") return null;
  return { pid, startTime };
}

/** Children, their children and so on, those that exist now. */
export function descendantsOf(root: number): ProcessIdentity[] {
  const processes = readProcesses((pid, stat) => ({ pid, parent: Number(fieldsAfterName(stat)[1]) }));
  return treesOf(processes, [root]).flatMap(({ pid }) => (pid === root ? [] : (identityOf(pid) ?? [])));
}

export function isAlive(process: ProcessIdentity): boolean {
  return identityOf(process.pid)?.startTime === process.startTime;
}

/** Sends a signal if the process still is the one that is meant. */
export function signal(target: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, name);
  } catch {
    // It ended in between.
  }
}

/** Waits until all have ended; returns those that have not after `timeoutMs`. */
export async function waitForEnd(targets: readonly ProcessIdentity[], timeoutMs: number): Promise<ProcessIdentity[]> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const living = targets.filter(isAlive);
    if (living.length === 0 || Date.now() >= deadline) return living;
    await sleep(20);
  }
}

/** SIGTERM, and SIGKILL for those that have not ended after `graceMs`. Returns those that had to be killed. */
export async function terminate(targets: readonly ProcessIdentity[], graceMs: number): Promise<ProcessIdentity[]> {
  for (const target of targets) signal(target, "SIGTERM");
  const stubborn = await waitForEnd(targets, graceMs);
  for (const target of stubborn) signal(target, "SIGKILL");
  await waitForEnd(stubborn, 5_000);
  return stubborn;
}

/** Processes whose network namespace is the one that this file (/run/netns/NAME) stands for. */
export function processesInNetns(netnsPath: string): ProcessIdentity[] {
  let wanted: bigint;
  try {
    wanted = statSync(netnsPath, { bigint: true }).ino;
  } catch {
    return [];
  }
  const found: ProcessIdentity[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (statSync(`/proc/${entry}/ns/net`, { bigint: true }).ino !== wanted) continue;
    } catch {
      continue; // It ended, or is a kernel thread.
    }
    const identity = identityOf(Number(entry));
    if (identity) found.push(identity);
  }
  return found;
}
