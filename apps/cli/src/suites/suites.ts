/** The suites that `slimfast test` knows, in the order in which they run. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { CLI_MAIN, ROOT } from "../paths.js";
import { runCargoTests } from "./cargo.js";
import { runLint } from "./lint.js";
import { failedReport, mergeReports, type Report } from "./result.js";
import { lastLines, runTool } from "./tool.js";
import { runVitest } from "./vitest.js";

export interface Suite {
  readonly name: string;
  readonly description: string;
  readonly needsRoot: boolean;
  run(signal: AbortSignal): Promise<Report>;
}

/** Crates whose tests need no privileges. */
const PLAIN_CRATES = ["-p", "slimfast-bench"];
/** The others use the kernel: BPF, seccomp, network namespaces. The addon cannot be linked into a test of its own. */
const PRIVILEGED_CRATES = ["--workspace", "--exclude", "slimfast-bench", "--exclude", "slimfast-napi"];
/** Ending of TypeScript tests that use the kernel: the real addon, the real agent. */
const PRIVILEGED_TESTS = ".privileged.test.ts";

/** The control plane's tests have a suite of their own. */
const CONTROLLER = "apps/controller";
const CLIENT = "libs/ts-client";

/** Folders of e2e/src that are suites of their own. */
const OWN_FOLDERS = {
  fidelity: "what the system calls of TCP sockets do: in endpoints as in an ordinary network namespace",
  apps: "real servers and clients: in one container, on one node, on two; in both tiers and in a plain namespace",
  abuse: "what a hostile container may try, row by row: attempts, blocked, leaked",
  durability:
    "agents killed, restarted and upgraded under load: connections, listeners, socket(2), what is left behind",
  bench: "the benchmark suite itself: every scenario on every network, report, comparison, clean-up",
  console: "the web console in a browser, on a real cluster",
  python: "CPython's own socket, ssl and http tests: the same results in endpoints as in a namespace",
} as const;

const ALL: readonly Suite[] = [
  {
    name: "lint",
    description: "formatting, lint and import rules; generated code is up to date, the API breaks no client",
    needsRoot: false,
    run: runLint,
  },
  {
    name: "unit",
    description: "unit tests of the TypeScript projects, and of the crates that need no privileges",
    needsRoot: false,
    run: async (signal) =>
      mergeReports([
        await runVitest(
          "test-unit",
          ["--exclude", `**/*${PRIVILEGED_TESTS}`, "--exclude", `${CONTROLLER}/**`, "--exclude", `${CLIENT}/**`],
          signal,
        ),
        await runCargoTests(PLAIN_CRATES, signal),
      ]),
  },
  {
    name: "controller",
    description: "the control plane: API and its fuzz, store conformance on SQLite and a real etcd, sync, security",
    needsRoot: false,
    run: (signal) =>
      runVitest("test-controller", ["--dir", CONTROLLER, "--exclude", `**/*${PRIVILEGED_TESTS}`], signal),
  },
  {
    name: "client",
    description: "the client library: watches, failover, TLS, its package, and its examples against a real controller",
    needsRoot: false,
    run: (signal) => runVitest("test-client", ["--dir", CLIENT], signal),
  },
  {
    name: "core",
    description: "on the real kernel: BPF programs, seccomp, namespaces, launcher, preloaded library, addon, agent",
    needsRoot: true,
    run: async (signal) =>
      mergeReports([
        await runCargoTests(PRIVILEGED_CRATES, signal),
        // One file at a time: they use things that belong to the machine.
        await runVitest("test-privileged", ["--no-file-parallelism", PRIVILEGED_TESTS], signal),
      ]),
  },
  {
    name: "system",
    description: "whole clusters with real programs (e2e/)",
    needsRoot: true,
    run: (signal) => {
      // Relative to --dir, as vitest takes exclusions.
      const others = Object.keys(OWN_FOLDERS).flatMap((name) => ["--exclude", `src/${name}/**`]);
      return runSystemTests("test-system", others, signal);
    },
  },
  ...Object.entries(OWN_FOLDERS).map(([name, description]) => ({
    name,
    description,
    needsRoot: true,
    run: (signal: AbortSignal) => runSystemTests(`test-${name}`, [`e2e/src/${name}/`], signal),
  })),
  {
    name: "demo",
    description: "`slimfast demo --once`, each of its checks a test",
    needsRoot: true,
    run: runDemo,
  },
];

const SYSTEM_SUITES: readonly string[] = ["system", ...Object.keys(OWN_FOLDERS)];

export const SUITES: readonly Suite[] = ALL.filter(
  (suite) => !SYSTEM_SUITES.includes(suite.name) || existsSync(join(ROOT, "e2e/vitest.config.ts")),
);

function runSystemTests(logName: string, args: readonly string[], signal: AbortSignal): Promise<Report> {
  return runVitest(logName, ["--config", "e2e/vitest.config.ts", "--dir", "e2e", ...args], signal);
}

interface DemoReport {
  readonly ok: boolean;
  readonly checks?: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

async function runDemo(signal: AbortSignal): Promise<Report> {
  const { output } = await runTool("test-demo", process.execPath, [CLI_MAIN, "demo", "--once", "--json"], signal);
  return readDemoReport(output);
}

export function readDemoReport(output: string): Report {
  const line = output.split("\n").find((text) => text.startsWith('{"ok"'));
  if (line === undefined) return failedReport("demo", lastLines(output));
  const { ok, checks = [] } = JSON.parse(line) as DemoReport;
  const failures = checks.filter((check) => !check.ok).map(({ name, detail }) => ({ test: `demo: ${name}`, detail }));
  if (!ok && failures.length === 0) return failedReport("demo", lastLines(output));
  return { passed: checks.length - failures.length, failed: failures.length, skipped: 0, failures, flaky: [] };
}
