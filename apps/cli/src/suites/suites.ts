/** The suites that `slimfast test` knows, and the parts that they fall into. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { CLI_MAIN, ROOT } from "../paths.js";
import { runCargoTests } from "./cargo.js";
import { runFuzzers } from "./fuzz.js";
import { runLint } from "./lint.js";
import { failedReport, type Report } from "./result.js";
import { lastLines, runTool, type Surroundings } from "./tool.js";
import { runVitest } from "./vitest.js";

/** A piece of a suite, run by one tool, that shares nothing with the others but the build. */
export interface Part {
  /** Makes clusters, or changes the machine otherwise. */
  readonly privileged: boolean;
  /** Runs on the machine as it is: no sandbox, and no other such part beside it. */
  readonly onMachine?: boolean;
  /** Takes all CPUs for seconds, by floods and storms above all: it waits for the others, and runs alone. */
  readonly isHeavy?: boolean;
  /** Waits for time to pass nearly always: from the beginning one such part after the other runs beside the lanes. */
  readonly isIdle?: boolean;
  run(surroundings: Surroundings): Promise<Report>;
}

export interface Suite {
  readonly name: string;
  readonly description: string;
  readonly needsRoot: boolean;
  /** Long ones first. */
  parts(): readonly Part[];
}

/**
 * Of the whole workspace, as its build and lint: for a selection cargo would choose other features of what several packages
 * depend on, and compile that anew. Most of the tests use the kernel: BPF, seccomp, network namespaces.
 */
const CRATES = ["--workspace"];
/** Ending of TypeScript tests that use the kernel: the real addon, the real agent. */
const PRIVILEGED_TESTS = ".privileged.test.ts";
const PROJECT_FOLDERS = ["apps", "libs", "crates"];
const TESTS = ".test.ts";

/** The control plane's tests have a suite of their own. */
const CONTROLLER = "apps/controller";
const CLIENT = "libs/ts-client";
/** Its components' tests belong to the suite that tries it in a browser. */
const WEB_CONSOLE = "apps/web-console";

/** Folders of e2e/src that are suites of their own, long ones first. */
const OWN_FOLDERS = {
  console: "the web console: its parts, and all of it in a browser, on a real cluster",
  python: "CPython's own socket, ssl and http tests: the same results in endpoints as in a namespace",
  abuse: "what a hostile container may try, row by row: attempts, blocked, leaked",
  bench: "the benchmark suite itself: every scenario on every network, report, comparison, clean-up",
  apps: "real servers and clients: in one container, on one node, on two; in both tiers and in a plain namespace",
  durability:
    "agents killed, restarted and upgraded under load: connections, listeners, socket(2), what is left behind",
  fidelity: "what the system calls of TCP sockets do: in endpoints as in an ordinary network namespace",
} as const;

/** Their neighbours would wait for CPUs until they time out. */
export const HEAVY: readonly string[] = [
  "e2e/src/abuse/rows.test.ts",
  "e2e/src/bench/bench.test.ts",
  "e2e/src/bench/control.test.ts",
];
/** They wait until peers time out, leases end, and the controller gives up agents. */
export const IDLE: readonly string[] = [
  "e2e/src/python/python.test.ts",
  "e2e/src/durability/partition.test.ts",
  "e2e/src/durability/stale.test.ts",
];

const ALL: readonly Suite[] = [
  {
    name: "lint",
    description: "formatting, lint and import rules; generated code is up to date, the API breaks no client",
    needsRoot: false,
    parts: () => [{ privileged: false, run: runLint }],
  },
  {
    name: "unit",
    description: "unit tests of the TypeScript projects",
    needsRoot: false,
    parts: () => [
      plainVitest(
        "test-unit",
        [CONTROLLER, CLIENT, WEB_CONSOLE].flatMap((project) => ["--exclude", `${project}/**`]),
      ),
    ],
  },
  {
    name: "controller",
    description: "the control plane: API and its fuzz, store conformance on SQLite and a real etcd, sync, security",
    needsRoot: false,
    parts: () => [plainVitest("test-controller", ["--dir", CONTROLLER])],
  },
  {
    name: "client",
    description: "the client library: watches, failover, TLS, its package, and its examples against a real controller",
    needsRoot: false,
    parts: () => [plainVitest("test-client", ["--dir", CLIENT])],
  },
  {
    name: "core",
    description:
      "all crates, on the real kernel: BPF programs, seccomp, namespaces, launcher, preloaded library; addon, agent",
    needsRoot: true,
    parts: () => [
      { privileged: true, run: (surroundings) => runCargoTests("test-cargo", CRATES, surroundings) },
      ...PROJECT_FOLDERS.flatMap((folder) => testFiles(folder, PRIVILEGED_TESTS)).map(
        (file): Part => ({
          privileged: true,
          run: (surroundings) => runVitest(`test-privileged-${logNameOf(file)}`, [file], surroundings),
        }),
      ),
    ],
  },
  {
    name: "fuzz",
    description: "parsers of bytes that others made, under libFuzzer (SLIMFAST_FUZZ_SECONDS for each, or --full)",
    needsRoot: false,
    parts: () => [{ privileged: false, run: runFuzzers }],
  },
  ...Object.entries(OWN_FOLDERS).map(([name, description]) => ({
    name,
    description,
    needsRoot: true,
    parts: () => [
      ...testFiles(`e2e/src/${name}`, TESTS).map((file) => ({
        ...systemPart(name, file),
        isHeavy: HEAVY.includes(file),
        isIdle: IDLE.includes(file),
      })),
      ...(name === "console" ? [plainVitest("test-console-parts", ["--dir", WEB_CONSOLE])] : []),
    ],
  })),
  {
    name: "demo",
    description: "`slimfast demo --once`, each of its checks a test",
    needsRoot: true,
    // Where users run it: the others are in sandboxes.
    parts: () => [{ privileged: true, onMachine: true, run: runDemo }],
  },
  {
    name: "system",
    description: "whole clusters with real programs (e2e/)",
    needsRoot: true,
    parts: () => {
      const others = Object.keys(OWN_FOLDERS).map((name) => `e2e/src/${name}/`);
      return testFiles("e2e/src", TESTS)
        .filter((file) => !others.some((folder) => file.startsWith(folder)))
        .map((file) => systemPart("system", file));
    },
  },
];

const SYSTEM_SUITES: readonly string[] = ["system", ...Object.keys(OWN_FOLDERS)];

/** In the order in which they start. `system` is the last, because its many short parts leave no CPU idle at the end. */
export const SUITES: readonly Suite[] = ALL.filter(
  (suite) => !SYSTEM_SUITES.includes(suite.name) || existsSync(join(ROOT, "e2e/vitest.config.ts")),
);

function plainVitest(logName: string, args: readonly string[]): Part {
  const all = ["--exclude", `**/*${PRIVILEGED_TESTS}`, ...args];
  return { privileged: false, run: (surroundings) => runVitest(logName, all, surroundings) };
}

function systemPart(suite: string, file: string): Part {
  const args = ["--config", "e2e/vitest.config.ts", "--dir", "e2e", join(ROOT, file)];
  return {
    privileged: true,
    run: (surroundings) => runVitest(`test-${suite}-${logNameOf(file)}`, args, surroundings),
  };
}

/** Paths from the root of the checkout, large files first: they tend to take long. */
function testFiles(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(ending) && !/(^|\/)(node_modules|dist)\//.test(path))
    .map((path) => join(folder, path))
    .sort((one, other) => statSync(join(ROOT, other)).size - statSync(join(ROOT, one)).size);
}

function logNameOf(file: string): string {
  return basename(file).replace(/\.test\.ts$/, "");
}

interface DemoReport {
  readonly ok: boolean;
  readonly checks?: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

async function runDemo(surroundings: Surroundings): Promise<Report> {
  const { output } = await runTool("test-demo", process.execPath, [CLI_MAIN, "demo", "--once", "--json"], surroundings);
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
