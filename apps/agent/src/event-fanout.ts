/**
 * Hands connection events to any number of readers. Each has a bounded buffer: when it is full the oldest events go, and
 * are counted; no reader holds up another, or the core.
 */
import type { ConnectionEvent, WatchConnectionEventsResponse } from "@slimfast/proto";
import type { Limits } from "./limits.js";

type FanoutLimits = Pick<Limits, "watcherBufferEvents" | "watcherBatchEvents">;

class Reader {
  readonly buffer: ConnectionEvent[] = [];
  dropped = 0n;
  wake: (() => void) | undefined;
}

export class EventFanout {
  readonly #limits: FanoutLimits;
  readonly #readers = new Set<Reader>();
  #droppedBefore = 0n;

  constructor(limits: FanoutLimits) {
    this.#limits = limits;
  }

  /** Whether anybody reads: nothing needs to be converted otherwise. */
  get isWatched(): boolean {
    return this.#readers.size > 0;
  }

  /** @param droppedBefore - events lost on their way here, since the agent started */
  publish(events: readonly ConnectionEvent[], droppedBefore: bigint): void {
    this.#droppedBefore = droppedBefore;
    for (const reader of this.#readers) {
      reader.buffer.push(...events);
      const excess = reader.buffer.length - this.#limits.watcherBufferEvents;
      if (excess > 0) {
        reader.buffer.splice(0, excess);
        reader.dropped += BigInt(excess);
      }
      reader.wake?.();
    }
  }

  /** Events from now on, until `signal`. */
  async *watch(signal: AbortSignal): AsyncGenerator<WatchConnectionEventsResponse, void, undefined> {
    const reader = new Reader();
    const wake = () => reader.wake?.();
    signal.addEventListener("abort", wake);
    this.#readers.add(reader);
    try {
      while (!signal.aborted) {
        if (reader.buffer.length === 0) {
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
          continue;
        }
        const events = reader.buffer.splice(0, this.#limits.watcherBatchEvents);
        yield { events, dropped: reader.dropped + this.#droppedBefore };
      }
    } finally {
      this.#readers.delete(reader);
      signal.removeEventListener("abort", wake);
    }
  }
}
