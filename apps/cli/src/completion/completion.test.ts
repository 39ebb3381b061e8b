/** The completion script in a real bash. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

it("bash completes what somebody types who has sourced the script, up to the end of the word", () => {
  // An interactive bash on a terminal of its own: types, presses Tab, and shows the line that came of it.
  const terminal = `
import os, pty, re, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PS1="> ")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def until(wanted):
    global seen
    end = time.monotonic() + 60
    while not re.search(wanted, seen):
        if time.monotonic() > end: sys.exit("no %r in %r" % (wanted, seen))
        if select.select([terminal], [], [], 0.2)[0]: seen += os.read(terminal, 65536)
    seen = b""
def type(text): os.write(terminal, text)
until(b"> ")
type(b"bind 'set bell-style none'; slimfast() { echo got: \\"$*\\".; }; . " + sys.argv[1].encode() + b"; echo re''ady\\n")
until(b"ready")
type(b"slimfast netw\\tcre\\t--prefix\\t6 x\\n")
until(rb"got: network create --prefix6? ?6? x\\.")
type(b"slimfast policy create --action de\\t\\n")
until(rb"got: policy create --action deny\\.")
`;
  const directory = mkdtempSync(join(tmpdir(), "slimfast-completion-"));
  try {
    const script = join(directory, "slimfast.bash");
    writeFileSync(script, completionScript("bash", entries));
    execFileSync("python3", ["-c", terminal, script], { encoding: "utf8" });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 120_000);

it("every shell's script names every command", () => {
  for (const shell of ["bash", "zsh", "fish"] as const) {
    const script = completionScript(shell, entries);
    for (const { path } of entries) expect(script).toContain(path.join(" "));
  }
});
