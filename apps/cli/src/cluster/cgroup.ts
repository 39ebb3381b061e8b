/** Where hierarchies of control groups are mounted. On machines with both versions v2 is not /sys/fs/cgroup itself. */
import { mounts } from "./mounts.js";

const BOTH = ["cgroup", "cgroup2"] as const;

/** Of version 2 and, on machines with both, of version 1. */
export function cgroupMounts(types: readonly string[] = BOTH, text?: string): string[] {
  return mounts(text).flatMap(({ target, type }) => (types.includes(type) ? [target] : []));
}

/** Null if it is mounted nowhere. */
export function cgroup2Mount(text?: string): string | null {
  return cgroupMounts(["cgroup2"], text)[0] ?? null;
}
