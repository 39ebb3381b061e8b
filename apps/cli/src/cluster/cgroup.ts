/** Where hierarchies of control groups are mounted. On machines with both versions v2 is not /sys/fs/cgroup itself. */
import { readFileSync } from "node:fs";

const BOTH = ["cgroup", "cgroup2"] as const;

/** Of version 2 and, on machines with both, of version 1. */
export function cgroupMounts(
  types: readonly string[] = BOTH,
  mounts: string = readFileSync("/proc/self/mounts", "utf8"),
): string[] {
  return mounts.split("\n").flatMap((line) => {
    const [, target, type = ""] = line.split(" ");
    // The kernel writes blanks in paths as \040.
    return target !== undefined && types.includes(type) ? [target.replaceAll("\\040", " ")] : [];
  });
}

/** Null if it is mounted nowhere. */
export function cgroup2Mount(mounts?: string): string | null {
  return cgroupMounts(["cgroup2"], mounts)[0] ?? null;
}
