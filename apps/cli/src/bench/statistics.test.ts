import { expect, it } from "vitest";
import { median, medians } from "./statistics.js";

it("takes the middle, or the mean of the two in the middle", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
  expect(() => median([])).toThrow(RangeError);
});

it("takes each field by itself", () => {
  const rounds = [
    { p50Us: 1, perSecond: 30 },
    { p50Us: 3, perSecond: 10 },
    { p50Us: 2.126, perSecond: 20 },
  ];
  expect(medians(rounds, ["p50Us", "perSecond"])).toEqual({ p50Us: 2.13, perSecond: 20 });
});
