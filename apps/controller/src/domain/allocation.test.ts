import { describe, expect, it } from "vitest";
import { SEEDS, seededRandom } from "../testing/random.js";
import { findPortConflict, formatPorts, lowestFree, nextFree, portsOverlap } from "./allocation.js";
import type { PortReservation } from "./resources.js";

function ascendingFrom(taken: ReadonlySet<number>): (from: number) => number[] {
  return (from) => [...taken].filter((number) => number >= from).toSorted((one, other) => one - other);
}

describe("lowestFree", () => {
  it("finds gaps, ends and nothing", () => {
    const range = { first: 1, last: 4 };
    expect(lowestFree(range, [])).toBe(1);
    expect(lowestFree(range, [1, 2, 4])).toBe(3);
    expect(lowestFree(range, [1, 2, 3])).toBe(4);
    expect(lowestFree(range, [1, 2, 3, 4])).toBeUndefined();
    expect(lowestFree(range, [-3, 0, 1, 9])).toBe(2);
    expect(lowestFree({ first: 5, last: 4 }, [])).toBeUndefined();
  });

  it("reads no further than the first gap", () => {
    function* taken(): Generator<number> {
      yield 1;
      yield 3;
      throw new Error("read too far");
    }
    expect(lowestFree({ first: 1, last: 10 }, taken())).toBe(2);
  });
});

describe("nextFree", () => {
  it("goes on after the last one and round at the end", () => {
    const range = { first: 1, last: 5 };
    expect(nextFree(range, 4, ascendingFrom(new Set([1, 4])))).toBe(5);
    expect(nextFree(range, 4, ascendingFrom(new Set([1, 4, 5])))).toBe(2);
    expect(nextFree(range, 99, ascendingFrom(new Set()))).toBe(1);
    expect(nextFree(range, 3, ascendingFrom(new Set([1, 2, 3, 4, 5])))).toBeUndefined();
  });

  it.each(SEEDS)("never gives out what is taken, and refuses only when all are (seed %i)", (seed) => {
    const random = seededRandom(seed);
    const size = 1 + random.below(30);
    const range = { first: 100, last: 100 + size - 1 };
    const taken = new Set<number>();
    let cursor = range.first;
    for (let step = 0; step < 300; step += 1) {
      if (taken.size > 0 && random.below(5) < 2) {
        taken.delete(random.pick([...taken]));
        continue;
      }
      const chosen = nextFree(range, cursor, ascendingFrom(taken));
      if (chosen === undefined) {
        expect(taken.size).toBe(size);
        continue;
      }
      expect(taken.has(chosen)).toBe(false);
      expect(chosen).toBeGreaterThanOrEqual(range.first);
      expect(chosen).toBeLessThanOrEqual(range.last);
      taken.add(chosen);
      cursor = chosen + 1;
    }
  });

  it("gives out every other number before one that was just freed", () => {
    const range = { first: 1, last: 6 };
    const taken = new Set([1, 2, 3]);
    taken.delete(2);
    let cursor = 4;
    const given: (number | undefined)[] = [];
    for (let step = 0; step < 5; step += 1) {
      const chosen = nextFree(range, cursor, ascendingFrom(taken));
      given.push(chosen);
      if (chosen === undefined) continue;
      taken.add(chosen);
      cursor = chosen + 1;
    }
    expect(given).toEqual([4, 5, 6, 2, undefined]);
  });
});

describe("ports", () => {
  const front: PortReservation = {
    node: "node-1",
    ports: { first: 7_100, count: 16 },
    purpose: "front",
    owner: "node/node-1",
    name: "",
    description: "",
    createTimeMs: 0,
    revision: 1n,
  };

  it.each([
    [7_099, 1, false],
    [7_100, 1, true],
    [7_115, 1, true],
    [7_116, 1, false],
    [7_000, 100, false],
    [7_000, 101, true],
    [7_000, 1_000, true],
  ])("block 7100-7115 and %i + %i: overlap is %s", (first, count, overlaps) => {
    expect(portsOverlap({ first, count }, front.ports)).toBe(overlaps);
    expect(portsOverlap(front.ports, { first, count })).toBe(overlaps);
  });

  it("names the reservation in the way, but not the owner's own", () => {
    expect(findPortConflict({ first: 7_110, count: 1 }, "endpoint/blue/web", [front])).toBe(front);
    expect(findPortConflict({ first: 7_110, count: 1 }, "node/node-1", [front])).toBeUndefined();
    expect(findPortConflict({ first: 80, count: 1 }, "endpoint/blue/web", [front])).toBeUndefined();
  });

  it("formats blocks and single ports", () => {
    expect([formatPorts(front.ports), formatPorts({ first: 80, count: 1 })]).toEqual(["7100-7115", "80"]);
  });
});
