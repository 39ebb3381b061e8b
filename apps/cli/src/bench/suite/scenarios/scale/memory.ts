/** What the kernel and the agents have of the machine's memory. */
import { readFileSync } from "node:fs";
import { residentKib } from "../../../holdings.js";

/**
 * What the kernel takes for itself. Not page tables and the like of user space, and not what is allocated in whole pages,
 * which /proc/meminfo does not tell apart from others'.
 */
const KERNEL_FIELDS = ["Slab", "KernelStack", "PageTables", "Percpu"];

export function kernelBytes(): number {
  return kernelBytesOf(readFileSync("/proc/meminfo", "utf8"));
}

/** Exported for its test. */
export function kernelBytesOf(meminfo: string): number {
  return KERNEL_FIELDS.reduce((total, field) => {
    const kib = Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(meminfo)?.[1] ?? Number.NaN);
    if (Number.isNaN(kib)) throw new RangeError(`no ${field} in /proc/meminfo`);
    return total + kib * 1_024;
  }, 0);
}

export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + residentKib(readFileSync(`/proc/${pid}/status`, "utf8")) * 1_024, 0);
}
