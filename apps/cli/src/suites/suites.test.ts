import { expect, it } from "vitest";
import { HEAVY, IDLE, SUITES } from "./suites.js";

it("finds each file that does not run as the others do", () => {
  const parts = SUITES.flatMap((suite) => suite.parts());
  expect(parts.filter(({ isHeavy }) => isHeavy)).toHaveLength(HEAVY.length);
  expect(parts.filter(({ isIdle }) => isIdle)).toHaveLength(IDLE.length);
});
