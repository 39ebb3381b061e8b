import { describe, expect, it } from "vitest";
import { propagation, times } from "./propagation.js";

describe("times", () => {
  it("are quantiles of what was measured", () => {
    const values = Array.from({ length: 1_000 }, (_, index) => 1_000 - index);
    expect(times(values)).toEqual({ count: 1_000, p50Ms: 501, p90Ms: 901, p99Ms: 991, maxMs: 1_000 });
  });

  it("of nothing are none", () => {
    expect(times([])).toMatchObject({ count: 0, p50Ms: 0, maxMs: 0 });
  });
});

describe("propagation", () => {
  // Operations 0 and 2 are creations in networks 0 and 1; 1 is the deletion of the first; 3 was never asked for.
  const changes = {
    askedMs: Float64Array.of(100, 300, 150, 0),
    answeredMs: Float64Array.of(104, 306, 158, 0),
    networks: Uint16Array.of(0, 0, 1, 0),
    failures: [],
  };
  const agentsOf = (network: number) => (network === 0 ? 2 : 1);
  const all = Float64Array.of(0, 105, 0, 110, 2, 160, 1, 301, 1, 303);

  it("is from the call to each agent, for the changes of the window", () => {
    const report = propagation(changes, all, agentsOf, { fromMs: 100, untilMs: 300 });
    expect(report).toMatchObject({ changes: 2, missing: 0 });
    expect(report.toAgent).toMatchObject({ count: 3, p50Ms: 10, maxMs: 10 });
    expect(report.toAnswer).toMatchObject({ count: 2, maxMs: 8 });
  });

  it("counts what an agent has not heard of", () => {
    const some = all.slice(0, 8);
    expect(propagation(changes, some, agentsOf, { fromMs: 0, untilMs: 1_000 })).toMatchObject({
      changes: 3,
      missing: 1,
    });
  });
});
