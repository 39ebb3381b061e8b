/** The completion script in a real bash. */
import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { createProgram } from "../program.js";
import { completionScript } from "./scripts.js";
import { completionEntries } from "./tree.js";

const entries = completionEntries(createProgram());

/** What bash offers for the last word of a command line. */
function complete(...words: string[]): string[] {
  const script = `${completionScript("bash", entries)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _slimfast; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync("bash", ["--norc", "-c", script, "bash", "slimfast", ...words], { encoding: "utf8" });
  return output.split("\n").filter((line) => line !== "");
}

describe("bash", () => {
  it("completes commands, also those of commands", () => {
    expect(complete("")).toEqual(expect.arrayContaining(["up", "down", "network", "policy", "completion"]));
    expect(complete("netw")).toEqual(["network"]);
    expect(complete("network", "")).toEqual(expect.arrayContaining(["list", "create", "delete"]));
    expect(complete("node", "un")).toEqual(["undrain"]);
    expect(complete("")).not.toContain("recover-node");
  });

  it("completes options of the command at hand", () => {
    expect(complete("network", "create", "--pre")).toEqual(["--prefix", "--prefix6"]);
    expect(complete("network", "list", "--pre")).toEqual([]);
    expect(complete("network", "--json", "create", "--vn")).toEqual(["--vni"]);
    expect(complete("up", "--")).toContain("--help");
  });

  it("completes values that are known", () => {
    expect(complete("policy", "create", "--action", "")).toEqual(["allow", "deny"]);
    expect(complete("token", "create", "--role", "op")).toEqual(["operator"]);
  });

  it("leaves alone what belongs to another program", () => {
    expect(complete("run", "--", "net")).toEqual([]);
  });
});

it("every shell's script names every command", () => {
  for (const shell of ["bash", "zsh", "fish"] as const) {
    const script = completionScript(shell, entries);
    for (const { path } of entries) expect(script).toContain(path.join(" "));
  }
});
