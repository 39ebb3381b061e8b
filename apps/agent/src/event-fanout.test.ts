import { ConnectionEvent, type WatchConnectionEventsResponse } from "@slimfast/proto";
import { afterEach, describe, expect, it } from "vitest";
import { EventFanout } from "./event-fanout.js";

const LIMITS = { watcherBufferEvents: 5, watcherBatchEvents: 3 };

/** Events that can be told apart. */
function numbered(from: number, to: number): ConnectionEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) => ConnectionEvent.fromPartial({ error: `${from + index}` }));
}

function numbers(result: IteratorResult<WatchConnectionEventsResponse>): { events: string[]; dropped: bigint } {
  if (result.done) throw new Error("the watch has ended");
  return { events: result.value.events.map(({ error }) => error), dropped: result.value.dropped };
}

describe("event fan-out", () => {
  const stops: AbortController[] = [];
  afterEach(() => {
    for (const stop of stops.splice(0)) stop.abort();
  });

  /** A reader that has begun, as a call does with its first look. */
  function read(fanout: EventFanout) {
    const stop = new AbortController();
    stops.push(stop);
    const events = fanout.watch(stop.signal);
    let first: ReturnType<typeof events.next> | undefined = events.next();
    const next = () => {
      const result = first ?? events.next();
      first = undefined;
      return result;
    };
    return { next, stop };
  }

  it("hands events on in batches of limited size", async () => {
    const fanout = new EventFanout(LIMITS);
    const reader = read(fanout);
    fanout.publish(numbered(1, 4), 0n);
    expect(numbers(await reader.next())).toEqual({ events: ["1", "2", "3"], dropped: 0n });
    expect(numbers(await reader.next())).toEqual({ events: ["4"], dropped: 0n });
    const waiting = reader.next();
    fanout.publish(numbered(5, 5), 0n);
    expect(numbers(await waiting)).toEqual({ events: ["5"], dropped: 0n });
  });

  it("keeps the newest for a slow reader, and counts what it loses; others lose nothing", async () => {
    const fanout = new EventFanout(LIMITS);
    const slow = read(fanout);
    const fast = read(fanout);
    const seen: string[] = [];
    for (let batch = 0; batch < 4; batch += 1) {
      fanout.publish(numbered(batch * 3 + 1, batch * 3 + 3), 0n);
      seen.push(...numbers(await fast.next()).events);
    }
    expect(seen).toHaveLength(12);
    // It has waited for the first batch, and looks again only now.
    expect(numbers(await slow.next())).toEqual({ events: ["1", "2", "3"], dropped: 0n });
    expect(numbers(await slow.next())).toEqual({ events: ["8", "9", "10"], dropped: 4n });
    expect(numbers(await slow.next())).toEqual({ events: ["11", "12"], dropped: 4n });
  });

  it("is bounded even when one batch is larger than the buffer", async () => {
    const fanout = new EventFanout(LIMITS);
    const reader = read(fanout);
    fanout.publish(numbered(1, 1_000), 0n);
    expect(numbers(await reader.next())).toEqual({ events: ["996", "997", "998"], dropped: 995n });
  });

  it("adds what was lost before the events came here", async () => {
    const fanout = new EventFanout(LIMITS);
    const reader = read(fanout);
    fanout.publish(numbered(1, 7), 10n);
    expect(numbers(await reader.next()).dropped).toBe(12n);
  });

  it("forgets a reader that ends, also one that waits", async () => {
    const fanout = new EventFanout(LIMITS);
    expect(fanout.isWatched).toBe(false);
    const reader = read(fanout);
    const pending = reader.next();
    expect(fanout.isWatched).toBe(true);
    reader.stop.abort();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(fanout.isWatched).toBe(false);
  });
});
