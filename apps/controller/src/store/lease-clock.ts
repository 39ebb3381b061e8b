/**
 * Time for leases: the time since the machine was started, which goes on while it sleeps and which nobody can set.
 *
 * Over a restart of the machine only the wall clock knows how long it was off. It is trusted only as far as it went
 * forward: set back, it prolongs a lease by no more than the time that the machine was off.
 */
import { readFileSync } from "node:fs";
import { uptime } from "node:os";

export interface LeaseStamp {
  /** What was left of the lease. */
  readonly leftMs: number;
  readonly bootId: string;
  readonly bootTimeMs: number;
  readonly wallTimeMs: number;
}

export interface LeaseClock {
  /** Names the run of the machine that `bootTimeMs` counts from. */
  readonly bootId: string;
  bootTimeMs(): number;
  wallTimeMs(): number;
}

export const SYSTEM_LEASE_CLOCK: LeaseClock = {
  bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
  bootTimeMs: () => uptime() * 1_000,
  wallTimeMs: () => Date.now(),
};

export function stamp(clock: LeaseClock, leftMs: number): LeaseStamp {
  return { leftMs, bootId: clock.bootId, bootTimeMs: clock.bootTimeMs(), wallTimeMs: clock.wallTimeMs() };
}

/** The boot time at which the lease ends. */
export function deadline(clock: LeaseClock, { leftMs, bootId, bootTimeMs, wallTimeMs }: LeaseStamp): number {
  if (bootId === clock.bootId) return bootTimeMs + leftMs;
  return clock.bootTimeMs() + leftMs - Math.max(0, clock.wallTimeMs() - wallTimeMs);
}
