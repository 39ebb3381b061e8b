import { expect, it } from "vitest";
import { completionEntries } from "./completion/tree.js";
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
      ...["node", "endpoint", "port", "policy", "token", "audit", "connection", "apply", "export", "top"],
      ...["completion", "bundle", "whoami", "agent", "authority"],
    ]),
  );
});

it("describes every command and option", () => {
  for (const command of completionEntries(createProgram())) {
    if (command.path.length === 0) continue;
    expect(command.description, command.path.join(" ")).not.toBe("");
    for (const option of command.options) expect(option.description, option.flag).not.toBe("");
  }
});
