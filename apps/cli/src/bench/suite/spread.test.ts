import { expect, it } from "vitest";
import { discoveries, mannWhitney, ratioInterval, summarize } from "./spread.js";

it("the spread is the median absolute deviation", () => {
  expect(summarize([1, 1, 2, 2, 4, 6, 9])).toMatchObject({ median: 2, mad: 1 });
});

it("Mann-Whitney is exact for few samples without ties", () => {
  // All of one below all of the other: 2 of the C(m + n, m) orders.
  expect(mannWhitney([1, 2, 3], [4, 5, 6])).toBeCloseTo(2 / 20, 12);
  expect(mannWhitney([11, 12, 13, 14], [1, 2, 3, 4])).toBeCloseTo(2 / 70, 12);
  // U = 2 of 12: 1 + 1 + 2 of 35 orders are at most that, on either side.
  expect(mannWhitney([1, 2, 5], [3, 4, 6, 7])).toBeCloseTo((2 * 4) / 35, 12);
});

it("Mann-Whitney with ties and for many samples is near the exact value", () => {
  expect(mannWhitney([1, 1, 1, 1], [1, 1, 1, 1])).toBe(1);
  const first = Array.from({ length: 25 }, (_, index) => index);
  const second = first.map((value) => value + 0.5);
  expect(mannWhitney(first, second)).toBeGreaterThan(0.7);
  expect(
    mannWhitney(
      first,
      first.map((value) => value + 100.5),
    ),
  ).toBeLessThan(1e-8);
  expect(mannWhitney([], [1])).toBe(1);
});

it("the interval of a ratio contains it, and is the same each time", () => {
  const [first, second] = [
    [20, 21, 22, 19, 20],
    [10, 11, 10, 9, 10],
  ];
  const interval = ratioInterval(first, second);
  expect(interval.low).toBeLessThanOrEqual(2);
  expect(interval.high).toBeGreaterThanOrEqual(2);
  expect(interval.low).toBeGreaterThanOrEqual(19 / 11);
  expect(interval.high).toBeLessThanOrEqual(22 / 9);
  expect(ratioInterval(first, second)).toEqual(interval);
  expect(ratioInterval([4], [2])).toEqual({ low: 2, high: 2 });
});

it("of many comparisons only those that chance does not explain are named", () => {
  expect(discoveries([0.01, 0.2, 0.04], 0.05)).toEqual([true, false, false]);
  // 0.04 of four is within reach of the largest rank that still holds.
  expect(discoveries([0.01, 0.02, 0.03, 0.04], 0.05)).toEqual([true, true, true, true]);
  expect(discoveries([0.04, 0.9, 0.9, 0.9], 0.05)).toEqual([false, false, false, false]);
  expect(discoveries([], 0.05)).toEqual([]);
});
