import { expect, it } from "vitest";
import { resultOf } from "./result-fixture.js";
import { suiteTargets } from "./suite-targets.js";

const GROWN = resultOf({
  "crr.1-client": { host: [100], "slimfast-preload": [90] },
  "scale-endpoints.1": { host: [30, 31, 32], "slimfast-notify": [45, 46, 47], "slimfast-preload": [33, 34, 35] },
  // The machine has become slower by a third meanwhile, notify by twice as much.
  "scale-endpoints.1000": {
    host: [40, 124 / 3, 128 / 3],
    "slimfast-notify": [90, 92, 94],
    "slimfast-preload": [44, 136 / 3, 140 / 3],
  },
});

it("what grows is compared with its smallest size, and beyond what the host's has become", () => {
  const [other, smallest, grown] = GROWN.cases;
  expect(other?.growth).toBeUndefined();
  expect(smallest?.growth).toBeUndefined();
  expect(grown?.growth?.host?.toSmallest.value).toBeCloseTo(4 / 3);
  expect(grown?.growth?.host?.beyondHost).toBeNull();
  const { "slimfast-preload": preload, "slimfast-notify": notify } = grown?.growth ?? {};
  expect(preload?.toSmallest.value).toBeCloseTo(4 / 3);
  expect(preload?.beyondHost?.value).toBeCloseTo(1);
  expect(notify?.toSmallest.value).toBeCloseTo(2);
  expect(notify?.beyondHost?.value).toBeCloseTo(1.5);
});

it("flat is a target, in each tier", () => {
  const flat = GROWN.targets.filter(({ name }) => name.includes("to the smallest size"));
  expect(flat.map(({ name, figure, unit, outcome }) => [name.split(", ").at(-1), figure, unit, outcome])).toEqual([
    ["slimfast-preload", 1, "x", "met"],
    ["slimfast-notify", 1.5, "x", "missed"],
  ]);
});

it("without the smallest size or the host nothing is said to be flat", () => {
  const [alone] = resultOf({ "scale-table.100000": { host: [30], "slimfast-preload": [33] } }).targets;
  expect(alone).toMatchObject({ figure: null, outcome: "not measured" });
  const { cases } = resultOf({
    "scale-table.1": { "slimfast-preload": [33] },
    "scale-table.100000": { "slimfast-preload": [34] },
  });
  expect(cases[1]?.growth?.["slimfast-preload"]).toMatchObject({ beyondHost: null });
  expect(suiteTargets(cases)[0]).toMatchObject({ outcome: "not measured" });
});
