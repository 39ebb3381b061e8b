import { expect, it } from "vitest";
import { parseResult } from "./result.js";
import { resultOf } from "./result-fixture.js";

it("ratios are of medians, to the host and to Slim of the same run", () => {
  const [one] = resultOf({
    "crr.16-clients": { host: [100, 110, 90], slim: [20, 20, 20], "slimfast-preload": [90, 80, 95] },
  }).cases;
  expect(one?.ratios["slimfast-preload"]).toMatchObject({ toHost: { value: 0.9 }, toSlim: { value: 4.5 } });
  expect(one?.ratios.slim?.toHost?.value).toBe(0.2);
});

it("without the host or Slim there are no ratios to them", () => {
  const [one] = resultOf({ "crr.16-clients": { "slimfast-preload": [90] } }).cases;
  expect(one?.ratios["slimfast-preload"]).toEqual({ toHost: null, toSlim: null });
});

it("targets are met, missed, or not measured", () => {
  const { targets } = resultOf({ "crr.16-clients": { host: [100], "slimfast-preload": [92] } });
  expect(targets.map(({ figure, outcome }) => [figure, outcome])).toEqual([
    [0.92, "met"],
    [null, "not measured"],
    [null, "not measured"],
  ]);
  const [missed] = resultOf({ "crr.16-clients": { host: [100], "slimfast-preload": [91] } }).targets;
  expect(missed).toMatchObject({ figure: 0.91, relation: ">=", limit: 0.92, outcome: "missed" });
});

it("memory is judged beyond the host's own", () => {
  const idle = (host: number[], preload: number[]) =>
    resultOf({ "idle.connections": { host, "slimfast-preload": preload } }).targets[0];
  expect(idle([5_000], [5_300])).toMatchObject({ figure: 300, unit: "B", limit: 400, outcome: "met" });
  expect(idle([5_000], [5_500])).toMatchObject({ figure: 500, outcome: "missed" });
});

it("a file is a result, or it says how to make one", () => {
  const result = resultOf({ "crr.16-clients": { host: [100] } });
  expect(parseResult(JSON.stringify(result), "old.json")).toEqual(result);
  for (const text of ["", "{}", "[1]", '{"kind":"slimfast-bench","version":2,"cases":[]}']) {
    expect(() => parseResult(text, "old.json")).toThrow("old.json is no result of slimfast bench");
  }
});
