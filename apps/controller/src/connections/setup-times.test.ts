/** Percentiles of setup times: how far off they may be, over which time, and that shares can be added. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addDistribution, countOf, quantilesUs, SetupTimesWindow } from "./setup-times.js";

const FRACTIONS = [0.5, 0.9, 0.99];

function distributionOf(values: readonly number[]) {
  const window = new SetupTimesWindow(10_000);
  for (const value of values) window.note(value, 50_000);
  return window.distribution(50_000);
}

function exactQuantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? 0;
}

const setupTimes = fc.array(fc.integer({ min: 1, max: 10_000_000 }), { minLength: 1, maxLength: 300 });

describe("quantiles", () => {
  it("are at most 4.5 % above the truth and never more than a rounding below it", () => {
    fc.assert(
      fc.property(setupTimes, (values) => {
        const found = quantilesUs(distributionOf(values), FRACTIONS);
        for (const [index, fraction] of FRACTIONS.entries()) {
          const exact = exactQuantile(values, fraction);
          expect(found[index]).toBeGreaterThanOrEqual(Math.floor(exact));
          expect(found[index]).toBeLessThanOrEqual(exact * 1.045 + 1);
        }
      }),
    );
  });

  it("of added shares are those of all values together", () => {
    fc.assert(
      fc.property(setupTimes, setupTimes, (one, other) => {
        const sum = distributionOf(one);
        addDistribution(sum, distributionOf(other));
        expect(countOf(sum)).toBe(one.length + other.length);
        expect(quantilesUs(sum, FRACTIONS)).toEqual(quantilesUs(distributionOf([...one, ...other]), FRACTIONS));
      }),
    );
  });

  it("of nothing are 0", () => {
    expect(quantilesUs(new Map(), FRACTIONS)).toEqual([0, 0, 0]);
  });
});

it("forgets what is older than its window", () => {
  const window = new SetupTimesWindow(10_000);
  window.note(100, 1_000);
  window.note(100, 9_000);
  expect(countOf(window.distribution(10_500))).toBe(2);
  expect(countOf(window.distribution(12_500))).toBe(1);
  expect(countOf(window.distribution(100_000))).toBe(0);
});
