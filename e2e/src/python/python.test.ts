/**
 * CPython's own tests of everything that is made of sockets: in an ordinary network namespace and in endpoints of both
 * tiers, at the same time, with the same result for each test. Debian's Python, whose tests are a package.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "../fixture/cluster.js";
import { program } from "../fixture/programs.js";
import { inPlainNamespace } from "../fixture/surroundings.js";
import { DIFFERENCES } from "./differences.js";

type Outcomes = Readonly<Record<string, string>>;

const PYTHON = "/usr/bin/python3";
/** Longer than the longest module takes on a slow and busy machine. */
const MODULE_TIMEOUT_SECONDS = 1_200;

/**
 * Name, and at least how many tests it has: a module that was not found, or skipped whole, would show no difference.
 * Long ones first.
 */
const MODULES: readonly (readonly [name: string, tests: number])[] = [
  ["test_ssl", 150],
  ["test_socket", 600],
  ["test_httplib", 100],
  ["test_ftplib", 80],
  ["test_smtplib", 70],
  ["test_socketserver", 20],
];
const MODULES_OF_FULL: typeof MODULES = [
  ["test_asyncio", 2_000],
  ["test_asyncore", 20],
  ["test_asynchat", 10],
  ["test_httpservers", 50],
  ["test_imaplib", 50],
  ["test_poplib", 30],
  ["test_nntplib", 50],
  ["test_telnetlib", 15],
  ["test_urllib2_localnet", 15],
  ["test_xmlrpc", 50],
  ["test_select", 5],
  ["test_selectors", 50],
  ["test_epoll", 10],
  ["test_poll", 5],
  ["test_wsgiref", 20],
  ["test_logging", 150],
  ["test_docxmlrpc", 5],
  ["test_smtpd", 30],
];

let cluster: Cluster;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-python-"));
  cluster = await Cluster.start();
});

afterAll(async () => {
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs the command to its end, whatever that is; what it left in `file` are the outcomes. */
async function outcomes(file: string, run: () => Promise<{ stdout: string; stderr: string }>): Promise<Outcomes> {
  const { stderr } = await run();
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Outcomes;
  } catch (error) {
    throw new Error(`no outcomes in ${file}; the end of what was printed:\n${stderr.slice(-4_000)}`, { cause: error });
  }
}

function command(file: string, module: string): string[] {
  return ["timeout", String(MODULE_TIMEOUT_SECONDS), PYTHON, "-B", program("python-suite.py"), file, module];
}

function inNamespace(args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const [executable = "", ...rest] = inPlainNamespace(args);
  return new Promise((done) => {
    execFile(executable, rest, { maxBuffer: 1 << 28 }, (_failure, stdout, stderr) => done({ stdout, stderr }));
  });
}

const modules = process.env["SLIMFAST_TEST_FULL"] === "1" ? [...MODULES, ...MODULES_OF_FULL] : MODULES;

// Side by side: they wait for time to pass nearly always, each in endpoints and a namespace of its own.
describe.concurrent.each(modules)("%s", (module, tests) => {
  it(
    "ends in endpoints as in a namespace, test by test",
    async () => {
      const sides = ["native", "notify", "preload"] as const;
      const [native, notify, preload] = await Promise.all(
        sides.map((side) => {
          const file = join(directory, `${side}.${module}.json`);
          const line = command(file, module);
          return outcomes(file, () => (side === "native" ? inNamespace(line) : cluster.run({ tier: side }, line)));
        }),
      );
      expect(Object.keys(native ?? {}).length).toBeGreaterThanOrEqual(tests);
      const known = DIFFERENCES.filter(({ test }) => test.startsWith(`test.${module}.`));
      for (const { test, native: outcome } of known) expect(native?.[test], test).toBe(outcome);
      for (const ours of [notify, preload]) {
        const accepted = known.filter(({ test, ours: outcomes }) => outcomes.includes(ours?.[test] ?? "missing"));
        const same = Object.fromEntries(accepted.map(({ test, native: outcome }) => [test, outcome]));
        expect({ ...ours, ...same }).toEqual(native);
      }
    },
    MODULE_TIMEOUT_SECONDS * 1_000 + 30_000,
  );
});
