import { expect, it } from "vitest";
import { compareResults } from "./compare.js";
import { resultOf } from "./result-fixture.js";

const HOST = [100, 102, 98, 101, 99, 100.5];
const scaled = (by: number, noise: readonly number[] = [0.3, -0.2, 0.1, 0, 0.2, -0.1]) =>
  HOST.map((value, index) => value * by + (noise[index] ?? 0));

const verdicts = (before: Parameters<typeof resultOf>[0], after: Parameters<typeof resultOf>[0]) =>
  compareResults(resultOf(before), resultOf(after)).changes.map(({ network, verdict }) => [network, verdict]);

it("a machine that is slower as a whole is no change of what runs on it", () => {
  const before = { "memcached.persistent": { host: HOST, "slimfast-preload": scaled(0.9) } };
  const slower = HOST.map((value) => value * 0.7);
  const after = {
    "memcached.persistent": { host: slower, "slimfast-preload": slower.map((value) => value * 0.9 + 0.05) },
  };
  expect(verdicts(before, after)).toEqual([
    ["host", "worse"],
    ["slimfast-preload", "no change"],
  ]);
});

it("which way is better depends on the figure", () => {
  const rate = (by: number) => ({ "crr.1-client": { host: HOST, "slimfast-preload": scaled(by) } });
  const time = (by: number) => ({ "connect.1-client": { host: HOST, "slimfast-preload": scaled(by) } });
  expect(verdicts(rate(0.8), rate(0.9))[1]).toEqual(["slimfast-preload", "better"]);
  expect(verdicts(rate(0.9), rate(0.8))[1]).toEqual(["slimfast-preload", "worse"]);
  expect(verdicts(time(1.3), time(1.1))[1]).toEqual(["slimfast-preload", "better"]);
});

it("a result has not changed from itself, nor by what is too small to matter", () => {
  const same = { "crr.1-client": { host: HOST, "slimfast-preload": scaled(0.8) } };
  expect(verdicts(same, same).map(([, verdict]) => verdict)).toEqual(["no change", "no change"]);
  const slightly = { "crr.1-client": { host: HOST, "slimfast-preload": scaled(0.808) } };
  expect(verdicts(same, slightly)[1]).toEqual(["slimfast-preload", "no change"]);
});

it("says what cannot be compared", () => {
  const comparison = compareResults(
    resultOf({ "crr.1-client": { host: [1, 2, 3] } }),
    resultOf({ "rr.1-bytes": { host: [1, 2, 3] } }),
  );
  expect(comparison).toEqual({
    changes: [],
    onlyOld: ["crr.1-client"],
    onlyNew: ["rr.1-bytes"],
    hasEnoughRounds: false,
  });
});
