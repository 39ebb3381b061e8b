/** What the figures were measured on. */
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

export interface MachineFacts {
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryMib: number;
  readonly node: string;
  /**
   * Nice value of this session, with its servers and clients, against others, the agents and keepers among them
   * (autogroup in sched(7)); null on a kernel without that.
   */
  readonly sessionNice: number | null;
}

export function machineFacts(): MachineFacts {
  const all = cpus();
  return {
    kernel: release(),
    cpus: all.length,
    cpuModel: all[0]?.model ?? "unknown",
    memoryMib: Math.round(totalmem() / 1024 / 1024),
    node: process.version,
    sessionNice: sessionNice(),
  };
}

function sessionNice(): number | null {
  try {
    const nice = /nice (-?\d+)/.exec(readFileSync("/proc/self/autogroup", "utf8"))?.[1];
    return nice === undefined ? null : Number(nice);
  } catch {
    return null;
  }
}

/** What is wrong with the conditions, in words; undefined if nothing is. */
export function unusualConditions({ sessionNice: nice }: MachineFacts): string | undefined {
  if (!nice) return undefined;
  const effect = nice < 0 ? "before" : "after";
  return `this session runs ${effect} others (nice ${nice} in /proc/self/autogroup), so the load and the agents do not compete as usual; to measure that, write 0 there`;
}
