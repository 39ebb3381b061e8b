import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { keepOpen, reportBehind, retryNow, streamStates } from "./streams.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false }));
});
afterEach(() => void vi.useRealTimers());

/** What the sign at the top says of a stream. */
function stateOf(name: string): string {
  return streamStates().find((each) => each.name === name)?.state ?? "none";
}

/** Messages and failures at a test's command. */
class Source {
  opened = 0;
  #settle: { resolve: (value: IteratorResult<number>) => void; reject: (reason: Error) => void } | undefined;

  open = (signal: AbortSignal): AsyncIterable<number> => {
    this.opened += 1;
    signal.addEventListener("abort", () => this.fail("aborted"));
    return { [Symbol.asyncIterator]: () => ({ next: () => this.#next() }) };
  };
  #next(): Promise<IteratorResult<number>> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }
  say(value: number): Promise<void> {
    this.#settle?.resolve({ value, done: false });
    return vi.advanceTimersByTimeAsync(0).then(() => undefined);
  }
  fail(reason: string): Promise<void> {
    this.#settle?.reject(new Error(reason));
    return vi.advanceTimersByTimeAsync(0).then(() => undefined);
  }
}

test("a stream that fails is lost, and comes back after growing pauses, or at once when somebody asks", async () => {
  const source = new Source();
  const messages: number[] = [];
  const stop = keepOpen({ name: "s", silenceMs: 60_000, open: source.open, onMessage: (m) => void messages.push(m) });
  expect(stateOf("s")).toBe("connecting");
  await source.say(1);
  expect(stateOf("s")).toBe("live");
  await source.fail("gone");
  expect(stateOf("s")).toBe("lost");
  await vi.advanceTimersByTimeAsync(500);
  expect(source.opened).toBe(2);
  await source.fail("gone again");
  await vi.advanceTimersByTimeAsync(500);
  expect(source.opened).toBe(2);
  retryNow();
  await vi.advanceTimersByTimeAsync(0);
  expect(source.opened).toBe(3);
  await source.say(2);
  expect(stateOf("s")).toBe("live");
  expect(messages).toEqual([1, 2]);
  stop();
  expect(stateOf("s")).toBe("none");
});

test("one that is silent for too long is lost, though nobody closed it", async () => {
  const source = new Source();
  const stop = keepOpen({ name: "quiet", silenceMs: 5_000, open: source.open, onMessage: () => undefined });
  await source.say(1);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(stateOf("quiet")).toBe("live");
  await vi.advanceTimersByTimeAsync(2);
  expect(stateOf("quiet")).toBe("lost");
  await vi.advanceTimersByTimeAsync(500);
  expect(source.opened).toBe(2);
  stop();
});

test("one that fails takes along all that was opened with it", async () => {
  const source = new Source();
  const signals: AbortSignal[] = [];
  const open = (signal: AbortSignal) => {
    signals.push(signal);
    return source.open(signal);
  };
  const stop = keepOpen({ name: "whole", silenceMs: 5_000, open, onMessage: () => undefined });
  await source.say(1);
  await source.fail("a part of it failed");
  await vi.advanceTimersByTimeAsync(500);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  stop();
  expect(signals[1]?.aborted).toBe(true);
});

test("one is not lost because the page itself was busy, if there is something to read then", async () => {
  const source = new Source();
  const stop = keepOpen({ name: "late", silenceMs: 5_000, open: source.open, onMessage: () => undefined });
  await source.say(1);
  const { now } = performance;
  // The page did nothing for half a minute: its timers are late by that.
  vi.spyOn(performance, "now").mockImplementation(() => now.call(performance) + 30_000);
  await vi.advanceTimersByTimeAsync(5_001);
  expect(stateOf("late")).toBe("live");
  await source.say(2);
  expect(source.opened).toBe(1);
  await vi.advanceTimersByTimeAsync(5_001);
  expect(stateOf("late")).toBe("lost");
  stop();
  vi.restoreAllMocks();
});

test("one that has lost something is behind for a while, though it goes on", async () => {
  const source = new Source();
  const stop = keepOpen({ name: "busy", silenceMs: 60_000, open: source.open, onMessage: () => undefined });
  await source.say(1);
  reportBehind("busy", "7 events were dropped");
  await source.say(2);
  expect(stateOf("busy")).toBe("behind");
  await vi.advanceTimersByTimeAsync(10_001);
  await source.say(3);
  expect(stateOf("busy")).toBe("live");
  stop();
});
