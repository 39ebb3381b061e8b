import { expect, it } from "vitest";
import { machineFacts, unusualConditions } from "./machine.js";

it("says that the session is preferred, or the contrary, and what to do", () => {
  const machine = machineFacts();
  expect(unusualConditions({ ...machine, sessionNice: 0 })).toBeUndefined();
  expect(unusualConditions({ ...machine, sessionNice: null })).toBeUndefined();
  expect(unusualConditions({ ...machine, sessionNice: -15 })).toContain("runs before others");
  expect(unusualConditions({ ...machine, sessionNice: 5 })).toContain("write 0 there");
});
