import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CliError } from "../exit-codes.js";
import { identityOf } from "../process/identity.js";
import { planCluster } from "./plan.js";
import { type ClusterState, isIntact, readState, withLock, writeState } from "./state-file.js";

let runDir: string;

beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), "slimfast-state-"));
});

afterEach(() => {
  rmSync(runDir, { recursive: true, force: true });
});

function stateOf(processes: ClusterState["processes"]): ClusterState {
  return {
    version: 1,
    plan: planCluster(runDir, 1, { first: 7000, count: 16 }),
    attendant: null,
    phase: "up",
    processes,
  };
}

describe("readState", () => {
  it("gives back what was written", () => {
    const state = stateOf([]);
    writeState(state);
    expect(readState(runDir)).toEqual(state);
  });

  it("gives null where no cluster is", () => {
    expect(readState(join(runDir, "nowhere"))).toBeNull();
  });

  it.each(["{", "[]", '{"version":2}', "null"])("refuses %j rather than forget what it names", (text) => {
    writeFileSync(join(runDir, "cluster.json"), text);
    expect(() => readState(runDir)).toThrow(CliError);
  });
});

describe("isIntact", () => {
  it("is false if a process is missing or has ended, the attendant too", () => {
    const self = identityOf(process.pid);
    const parent = identityOf(process.ppid);
    if (!self || !parent) throw new Error("no identity");
    const controller = { ...parent, role: "controller" as const, node: null, logPath: "" };
    const agent = { ...self, role: "agent" as const, node: "node-1", logPath: "" };
    expect(isIntact(stateOf([controller, agent]))).toBe(true);
    expect(isIntact({ ...stateOf([controller, agent]), phase: "stopping" })).toBe(false);
    expect(isIntact({ ...stateOf([controller, agent]), attendant: { ...self, startTime: "1" } })).toBe(false);
    expect(isIntact(stateOf([controller]))).toBe(false);
    expect(isIntact(stateOf([controller, { ...agent, startTime: "1" }]))).toBe(false);
  });
});

describe("withLock", () => {
  it("lets one in at a time and leaves no lock behind", async () => {
    await withLock(runDir, async () => {
      await expect(withLock(runDir, async () => undefined)).rejects.toMatchObject({ code: "busy" });
    });
    expect(existsSync(join(runDir, "cluster.lock"))).toBe(false);
  });

  it("takes over the lock of a process that has ended", async () => {
    writeFileSync(join(runDir, "cluster.lock"), JSON.stringify({ pid: process.pid, startTime: "1" }));
    await expect(withLock(runDir, async () => "done")).resolves.toBe("done");
  });

  it("is released by a failure", async () => {
    await expect(withLock(runDir, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await expect(withLock(runDir, async () => "done")).resolves.toBe("done");
  });
});
