import { describe, expect, it } from "vitest";
import { type LaneOptions, runSuites } from "./lanes.js";
import { failedReport, type Report, type SuiteResult } from "./result.js";
import type { Part, Suite } from "./suites.js";

const PASSED: Report = { passed: 1, failed: 0, skipped: 0, failures: [], flaky: [] };

/** What happened, in order; a part ends when the test says so. */
class Stage {
  readonly events: string[] = [];
  readonly sandboxed: string[] = [];
  readonly results: SuiteResult[] = [];
  readonly #ends = new Map<string, (report: Report) => void>();
  readonly #abort = new AbortController();

  part(name: string, traits: Partial<Part> = {}): Part {
    return {
      privileged: false,
      ...traits,
      run: ({ sandboxed }) => {
        this.events.push(`+${name}`);
        if (sandboxed) this.sandboxed.push(name);
        return new Promise((done) => this.#ends.set(name, done));
      },
    };
  }

  run(suites: readonly Suite[], options: Partial<LaneOptions> = {}): Promise<SuiteResult[]> {
    return runSuites(suites, {
      lanes: 2,
      sandboxes: true,
      signal: this.#abort.signal,
      onStart: ({ name }) => this.events.push(`${name}:`),
      onEnd: (result) => {
        this.events.push(`:${result.suite}`);
        this.results.push(result);
      },
      ...options,
    });
  }

  async end(name: string, report: Report = PASSED): Promise<void> {
    this.events.push(`-${name}`);
    this.#ends.get(name)?.(report);
    await new Promise(setImmediate);
  }

  abort(): void {
    this.#abort.abort();
  }
}

function suite(name: string, ...parts: Part[]): Suite {
  return { name, description: name, needsRoot: false, parts: () => parts };
}

describe("lanes", () => {
  it("take the next part when they have done one; a suite ends with its last part", async () => {
    const stage = new Stage();
    const running = stage.run([suite("a", stage.part("a1"), stage.part("a2")), suite("b", stage.part("b1"))]);
    await stage.end("a2");
    await stage.end("b1");
    await stage.end("a1", failedReport("a1", "broken"));
    const results = await running;
    expect(stage.events).toEqual(["a:", "+a1", "+a2", "-a2", "b:", "+b1", "-b1", ":b", "-a1", ":a"]);
    expect(results.map(({ suite, passed, failed }) => [suite, passed, failed])).toEqual([
      ["a", 1, 1],
      ["b", 1, 0],
    ]);
  });

  it("keep what a part has reported when its sandbox could not be taken away", async () => {
    const leaving: Part = {
      privileged: true,
      run: async ({ onLeftSandbox }) => {
        onLeftSandbox("EBUSY");
        return { ...PASSED, failed: 1, failures: [{ test: "a1", detail: "broken" }] };
      },
    };
    const [result] = await new Stage().run([suite("a", leaving)]);
    expect(result).toMatchObject({
      ...{ passed: 1, failed: 2 },
      failures: [
        { test: "a1", detail: "broken" },
        { test: "a: its sandbox is left", detail: "EBUSY" },
      ],
    });
  });

  it("run heavy parts when all others have ended, one at a time", async () => {
    const stage = new Stage();
    const heavy = { privileged: true, isHeavy: true };
    const running = stage.run([
      suite("a", stage.part("a1", heavy), stage.part("a2", heavy)),
      suite("b", stage.part("b1")),
    ]);
    expect(stage.events).toEqual(["b:", "+b1"]);
    await stage.end("b1");
    await stage.end("a1");
    await stage.end("a2");
    await running;
    expect(stage.events).toEqual(["b:", "+b1", "-b1", ":b", "a:", "+a1", "-a1", "+a2", "-a2", ":a"]);
  });

  it("run idle parts beside all others, from the beginning, one at a time", async () => {
    const stage = new Stage();
    const idle = { privileged: true, isIdle: true };
    const running = stage.run([
      suite("a", stage.part("a1"), stage.part("a2")),
      suite("b", stage.part("b1"), stage.part("b2", idle), stage.part("b3", idle)),
    ]);
    expect(stage.events).toEqual(["b:", "+b2", "a:", "+a1", "+a2"]);
    await stage.end("b2");
    expect(stage.events.slice(-2)).toEqual(["-b2", "+b3"]);
    for (const name of ["a1", "a2", "b1", "b3"]) await stage.end(name);
    await running;
    expect(stage.results.map(({ suite, passed }) => [suite, passed])).toEqual([
      ["a", 2],
      ["b", 3],
    ]);
  });

  it("run idle parts in the order of the others on the machine itself", async () => {
    const stage = new Stage();
    const privileged = { privileged: true };
    const running = stage.run(
      [suite("a", stage.part("a1", privileged), stage.part("a2", { ...privileged, isIdle: true }), stage.part("a3"))],
      { sandboxes: false },
    );
    expect(stage.events).toEqual(["a:", "+a1", "+a3"]);
    await stage.end("a3");
    await stage.end("a1");
    await stage.end("a2");
    expect((await running).map(({ passed }) => passed)).toEqual([3]);
  });

  it("run idle parts in the order of the others where there is one lane", async () => {
    const stage = new Stage();
    const running = stage.run([suite("a", stage.part("a1"), stage.part("a2", { isIdle: true }))], { lanes: 1 });
    expect(stage.events).toEqual(["a:", "+a1"]);
    await stage.end("a1");
    await stage.end("a2");
    expect((await running).map(({ passed }) => passed)).toEqual([2]);
  });

  it("run one part at a time on the machine itself, and others past it", async () => {
    const stage = new Stage();
    const onMachine = { privileged: true, onMachine: true };
    const running = stage.run([
      suite("a", stage.part("a1", onMachine), stage.part("a2", onMachine), stage.part("a3", { privileged: true })),
    ]);
    expect(stage.events).toEqual(["a:", "+a1", "+a3"]);
    await stage.end("a3");
    await stage.end("a1");
    expect(stage.events).toContain("+a2");
    await stage.end("a2");
    await running;
    expect(stage.sandboxed).toEqual(["a3"]);
  });

  it("run all privileged parts on the machine where there are no sandboxes", async () => {
    const stage = new Stage();
    const privileged = { privileged: true };
    const running = stage.run(
      [suite("a", stage.part("a1", privileged), stage.part("a2", privileged)), suite("b", stage.part("b1"))],
      { sandboxes: false },
    );
    expect(stage.events).toEqual(["a:", "+a1", "b:", "+b1"]);
    await stage.end("a1");
    await stage.end("b1");
    await stage.end("a2");
    expect((await running).map(({ passed }) => passed)).toEqual([2, 1]);
    expect(stage.sandboxed).toEqual([]);
  });

  it("start nothing after an interrupt; what had started is told of", async () => {
    const stage = new Stage();
    const running = stage.run([suite("a", stage.part("a1"), stage.part("a2")), suite("b", stage.part("b1"))], {
      lanes: 1,
    });
    stage.abort();
    await stage.end("a1", failedReport("a1", "aborted"));
    expect((await running).map(({ suite, failed }) => [suite, failed])).toEqual([["a", 1]]);
    expect(stage.events).toEqual(["a:", "+a1", "-a1", ":a"]);
  });

  it("count a part that throws, and a suite without parts, as failed", async () => {
    const broken: Part = { privileged: false, run: () => Promise.reject(new Error("no such tool")) };
    const results = await new Stage().run([suite("a", broken), suite("b")]);
    expect(results.map(({ failed, failures }) => [failed, failures[0]?.detail])).toEqual([
      [1, "no such tool"],
      [1, "this suite has no tests"],
    ]);
  });
});
