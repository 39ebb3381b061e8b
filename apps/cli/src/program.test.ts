import { expect, it } from "vitest";
import { createProgram } from "./program.js";

it("has the commands that the documentation names", () => {
  const names = createProgram().commands.map((command) => command.name());
  expect(names).toEqual(
    expect.arrayContaining([
      "up",
      "down",
      "status",
      "doctor",
      "run",
      "connections",
      "demo",
      "bench",
      "test",
      "network",
    ]),
  );
});

it("describes every command and option", () => {
  for (const command of createProgram().commands.filter((candidate) => candidate.name() !== "recover-node")) {
    expect(command.description(), command.name()).not.toBe("");
    for (const option of command.options) expect(option.description, option.flags).not.toBe("");
  }
});
