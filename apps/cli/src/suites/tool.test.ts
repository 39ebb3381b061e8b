import { describe, expect, it } from "vitest";
import { descendantsOf, isAlive } from "../process/identity.js";
import { runTool } from "./tool.js";

const until = async <T>(find: () => T | undefined): Promise<T> => {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const found = find();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not come to be");
};

describe("a tool that is told to end", () => {
  it("takes along what it has started, also what would not hear of it", async () => {
    const abort = new AbortController();
    const before = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
    const started = () => descendantsOf(process.pid).filter(({ pid }) => !before.has(pid));
    const script = "sleep 1000 & sh -c 'trap \"\" TERM; sleep 1001; :' & wait";
    const surroundings = { signal: abort.signal, sandboxed: false, onLeftSandbox: () => undefined };
    const running = runTool("test-tool-itself", "sh", ["-c", script], surroundings);
    // The shell, the deaf one and a sleep of each.
    const processes = await until(() => (started().length === 4 ? started() : undefined));
    abort.abort();
    expect((await running).exitCode).not.toBe(0);
    expect(processes.filter(isAlive)).toEqual([]);
  });

  it("is not started for nothing, if that was before", async () => {
    const surroundings = { signal: AbortSignal.abort(), sandboxed: false, onLeftSandbox: () => undefined };
    expect((await runTool("test-tool-itself", "sleep", ["1000"], surroundings)).exitCode).not.toBe(0);
  });
});
