/** Times, relative and exact, and what counts down. */
import { useSyncExternalStore } from "react";
import { duration, exactTime, roughDuration } from "./format.js";

const listeners = new Set<() => void>();
let nowMs = Date.now();
setInterval(() => {
  nowMs = Date.now();
  for (const listener of listeners) listener();
}, 1_000);

/** The time, once a second. */
export function useNow(): number {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => nowMs,
  );
}

function relative(at: Date, now: number): string {
  const ms = at.getTime() - now;
  // The clock here goes by whole seconds: what has just happened is not to come.
  return ms >= 1_000 ? `in ${roughDuration(ms)}` : `${roughDuration(-ms)} ago`;
}

/** Relative to now; the exact time is shown to the pointer, and beside it if `isExact`. */
export function Time({ at, isExact = false }: { readonly at: Date | undefined; readonly isExact?: boolean }) {
  const now = useNow();
  if (!at) return <span className="dim">–</span>;
  return (
    <time dateTime={at.toISOString()} title={exactTime(at)}>
      {relative(at, now)}
      {isExact ? <span className="dim"> · {exactTime(at)}</span> : null}
    </time>
  );
}

/** Less is left than this: it is time to extend it. */
const SOON_MS = 600_000;

/** How long a lease still holds. */
export function Lease({ from, until }: { readonly from: Date | undefined; readonly until: Date | undefined }) {
  const now = useNow();
  if (!until) return <span className="dim">no end</span>;
  const left = until.getTime() - now;
  const whole = from ? until.getTime() - from.getTime() : 0;
  return (
    <span className="lease">
      <time
        dateTime={until.toISOString()}
        title={`ends ${exactTime(until)}`}
        className={left < SOON_MS ? "warn" : undefined}
      >
        {left > 0 ? `${duration(left)} left` : "ending"}
      </time>
      {whole > 0 ? (
        <meter min={0} max={whole} value={Math.max(0, left)} aria-label="Share of the lease that is left" />
      ) : null}
    </span>
  );
}
