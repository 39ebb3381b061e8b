import { describe, expect, it } from "vitest";
import { Backoff } from "./backoff.js";

describe("backoff", () => {
  it("doubles up to its longest pause", () => {
    const backoff = new Backoff(100, 1_000);
    expect([0, 1, 2, 3, 4, 5].map(() => backoff.nextMs(1))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it("keeps at least half of each pause", () => {
    expect(new Backoff(100, 1_000).nextMs(0)).toBe(50);
    expect(new Backoff(100, 1_000).nextMs(0.5)).toBe(75);
  });

  it("starts anew after a reset", () => {
    const backoff = new Backoff(100, 1_000);
    for (let failure = 0; failure < 5; failure += 1) backoff.nextMs(0);
    backoff.reset();
    expect(backoff.nextMs(1)).toBe(100);
  });

  it("never overflows", () => {
    const backoff = new Backoff(100, 1_000);
    for (let failure = 0; failure < 5_000; failure += 1) expect(backoff.nextMs(0.9)).toBeLessThanOrEqual(1_000);
  });
});
