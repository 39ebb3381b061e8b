/** Where cgroup v2 is mounted. On machines with both versions it is not /sys/fs/cgroup itself. */
import { readFileSync } from "node:fs";

/** Null if it is mounted nowhere. */
export function cgroup2Mount(mounts: string = readFileSync("/proc/self/mounts", "utf8")): string | null {
  for (const line of mounts.split("\n")) {
    const [, target, type] = line.split(" ");
    // The kernel writes blanks in paths as \040.
    if (type === "cgroup2" && target !== undefined) return target.replaceAll("\\040", " ");
  }
  return null;
}
