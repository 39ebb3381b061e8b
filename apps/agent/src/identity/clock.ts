/** Time as the identity sees it: the wall clock, by which certificates are valid. Tests pass their own. */
import { setTimeout as sleep } from "node:timers/promises";

export interface Clock {
  nowMs(): number;
  /** Resolves after the time, or when the signal is aborted. */
  pause(ms: number, signal: AbortSignal): Promise<void>;
}

/** Timers take no longer delay than this; whoever waits looks at the clock again. */
const LONGEST_PAUSE_MS = 24 * 3_600_000;

export const WALL_CLOCK: Clock = {
  nowMs: () => Date.now(),
  pause: (ms, signal) =>
    sleep(Math.min(Math.max(ms, 0), LONGEST_PAUSE_MS), undefined, { signal, ref: false }).then(
      () => undefined,
      () => undefined,
    ),
};
