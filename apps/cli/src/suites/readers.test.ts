import { describe, expect, it } from "vitest";
import { readCargoOutput, settle } from "./cargo.js";
import { failedTasks, readProjects, taskOutput } from "./lint.js";
import { type Failure, type Report, summaryLine } from "./result.js";
import { readDemoReport } from "./suites.js";
import { readVitestReport } from "./vitest.js";

describe("cargo", () => {
  const output = `
     Running unittests src/lib.rs (target/debug/deps/slimfast_core-1)

running 3 tests
test host::journal ... ok
test host::ports ... FAILED
test slow ... ignored

failures:

---- host::ports stdout ----
thread 'host::ports' panicked at src/host/ports.rs:9:5:
assertion failed

failures:
    host::ports

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/datapath.rs (target/debug/deps/datapath-2)

test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
`;

  it("adds up the binaries and names the failures", () => {
    expect(readCargoOutput(output)).toEqual({
      passed: 8,
      failed: 1,
      skipped: 1,
      failures: [
        {
          test: "src/lib.rs: host::ports",
          detail: "thread 'host::ports' panicked at src/host/ports.rs:9:5:\nassertion failed",
        },
      ],
      flaky: [],
    });
  });

  describe("tried again", () => {
    const [ports, fork, wire] = ["src/lib.rs: host::ports", "tests/launch.rs: fork", "tests/wire.rs: fork"].map(
      (test) => ({ test, detail: "assertion failed" }),
    ) as [Failure, Failure, Failure];
    const report = (passed: number, ...failures: Failure[]): Report => {
      return { passed, failed: failures.length, skipped: 0, failures, flaky: [] };
    };

    it("counts as passed what passes then, and shows it", () => {
      expect(settle(report(8, ports, fork), report(1, fork))).toEqual({ ...report(9, fork), flaky: [ports] });
      expect(settle(report(8, ports, fork), report(2))).toEqual({ ...report(10), flaky: [ports, fork] });
      // Another binary's test of that name.
      expect(settle(report(8, fork), report(1, wire))).toEqual({ ...report(9), flaky: [fork] });
    });

    it("stands by what was said first if the second run ends too soon", () => {
      expect(settle(report(8, ports, fork), report(1))).toEqual(report(8, ports, fork));
    });
  });
});

describe("vitest", () => {
  it("counts a file that cannot be loaded as a failure, and one that fails after its tests", () => {
    const report = readVitestReport(
      JSON.stringify({
        testResults: [
          { name: "/a.test.ts", status: "failed", message: "no such module", assertionResults: [] },
          {
            name: "/b.test.ts",
            status: "failed",
            assertionResults: [
              { fullName: "works", status: "passed" },
              { fullName: "breaks", status: "failed", failureMessages: ["expected 1"] },
              { fullName: "later", status: "pending" },
              { fullName: "wavers", status: "passed", failureMessages: ["not yet"] },
            ],
          },
          {
            ...{ name: "/c.test.ts", status: "failed", message: "the cluster is still there" },
            assertionResults: [{ fullName: "breaks", status: "failed", failureMessages: ["expected 2"] }],
          },
        ],
      }),
    );
    expect(report).toMatchObject({ passed: 2, failed: 4, skipped: 1 });
    expect(report.flaky).toEqual([{ test: expect.stringContaining("b.test.ts: wavers"), detail: "not yet" }]);
    expect(report.failures.map((failure) => failure.detail)).toEqual([
      ...["no such module", "expected 1"],
      ...["expected 2", "the cluster is still there"],
    ]);
  });
});

describe("nx", () => {
  const output = `
> nx run cli:lint

biome: fine

> nx run agent:lint

biome: not fine

 NX   Running target lint for 2 projects failed

Failed tasks:

- agent:lint

  Run duration: 9.0s
`;

  it("finds the projects and what the failed ones said", () => {
    expect(readProjects('warning\n["cli","agent"]\n')).toEqual(["cli", "agent"]);
    expect(readProjects("no such thing")).toBeNull();
    expect(failedTasks(output)).toEqual(["agent"]);
    expect(failedTasks("all is well")).toEqual([]);
    expect(taskOutput(output, "agent").trim()).toBe("biome: not fine");
  });
});

describe("demo", () => {
  it("makes each check a test", () => {
    const report = readDemoReport(
      'noise\n{"ok":false,"checks":[{"name":"a","ok":true,"detail":""},{"name":"b","ok":false,"detail":"no answer"}]}\n',
    );
    expect(report).toMatchObject({ passed: 1, failed: 1, failures: [{ test: "demo: b", detail: "no answer" }] });
  });

  it("fails when there is no report", () => {
    expect(readDemoReport("killed")).toMatchObject({ passed: 0, failed: 1 });
  });
});

it("ends with the line that scripts look for", () => {
  const report = { passed: 2, failed: 1, skipped: 4, failures: [], flaky: [] };
  expect(summaryLine([report, report])).toBe("4 passed, 2 failed");
});
