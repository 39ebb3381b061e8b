/**
 * Which process is meant: a pid alone is given out again after its process has ended, a pid with its start time is not.
 * Everything that is killed is killed through here.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot, as text. */
  readonly startTime: string;
}

/** The identity of a process that exists now; null if there is none. A zombie is none: it holds nothing any more. */
export function identityOf(pid: number): ProcessIdentity | null {
  const [state, , ...others] = statOf(pid);
  const startTime = others[17];
  if (startTime === undefined || state === "Z" || state === "X") return null;
  return { pid, startTime };
}

/** Children, their children and so on, those that exist now. One whose parent has ended is nobody's descendant any more. */
export function descendantsOf(pid: number): ProcessIdentity[] {
  const childrenOf = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const [, parent] = statOf(Number(entry));
    if (parent === undefined) continue;
    const siblings = childrenOf.get(Number(parent));
    if (siblings) siblings.push(Number(entry));
    else childrenOf.set(Number(parent), [Number(entry)]);
  }
  const found: ProcessIdentity[] = [];
  const waiting = [...(childrenOf.get(pid) ?? [])];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const identity = identityOf(next);
    if (identity) found.push(identity);
    waiting.push(...(childrenOf.get(next) ?? []));
  }
  return found;
}

/** Fields of /proc/PID/stat, from the third on (state, parent …); none if there is no such process. */
function statOf(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may contain anything, parentheses too: fields are counted from the last one.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
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
