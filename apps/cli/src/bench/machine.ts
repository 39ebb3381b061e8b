/** What the figures were measured on. */
import { cpus, release, totalmem } from "node:os";

export interface MachineFacts {
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryMib: number;
  readonly node: string;
}

export function machineFacts(): MachineFacts {
  const all = cpus();
  return {
    kernel: release(),
    cpus: all.length,
    cpuModel: all[0]?.model ?? "unknown",
    memoryMib: Math.round(totalmem() / 1024 / 1024),
    node: process.version,
  };
}
