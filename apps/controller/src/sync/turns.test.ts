import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Turn, Turns } from "./turns.js";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Which of the turns have come. */
async function come(turns: readonly Turn[]): Promise<number[]> {
  const found: number[] = [];
  turns.forEach((turn, index) => void turn.come.then(() => found.push(index)));
  await vi.advanceTimersByTimeAsync(0);
  return found;
}

describe("turns", () => {
  it("are given to so many at a time, in the order in which they were asked for", async () => {
    const turns = new Turns(2, 1_000);
    const taken = Array.from({ length: 4 }, () => turns.take());
    expect(await come(taken)).toEqual([0, 1]);
    taken[1]?.end();
    taken[1]?.end();
    expect(await come(taken)).toEqual([0, 1, 2]);
    // Given up before it came.
    taken[3]?.end();
    taken[0]?.end();
    expect(await come([turns.take()])).toEqual([0]);
  });

  it("end by themselves, so that one that is stuck stops nobody", async () => {
    const turns = new Turns(1, 1_000);
    const taken = [turns.take(), turns.take()];
    expect(await come(taken)).toEqual([0]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await come(taken)).toEqual([0, 1]);
    taken[0]?.end();
    expect(await come([turns.take()])).toEqual([]);
  });
});
