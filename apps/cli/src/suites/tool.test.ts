import { describe, expect, it, vi } from "vitest";
import { descendantsOf, isAlive } from "../process/identity.js";
import { runTool } from "./tool.js";

describe("a tool that is told to end", () => {
  it("takes along what it has started, also what would not hear of it", async () => {
    const abort = new AbortController();
    const before = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
    const started = () => descendantsOf(process.pid).filter(({ pid }) => !before.has(pid));
    const script = "sleep 1000 & sh -c 'trap \"\" TERM; sleep 1001; :' & wait";
    const surroundings = { signal: abort.signal, sandboxed: false, onLeftSandbox: () => undefined };
    const running = runTool("test-tool-itself", "sh", ["-c", script], surroundings);
    // The shell, the deaf one and a sleep of each.
    await vi.waitFor(() => expect(started()).toHaveLength(4), { timeout: 5_000 });
    const processes = started();
    abort.abort();
    expect((await running).exitCode).not.toBe(0);
    expect(processes.filter(isAlive)).toEqual([]);
  });

  it("is not started for nothing, if that was before", async () => {
    const surroundings = { signal: AbortSignal.abort(), sandboxed: false, onLeftSandbox: () => undefined };
    expect((await runTool("test-tool-itself", "sleep", ["1000"], surroundings)).exitCode).not.toBe(0);
  });
});
