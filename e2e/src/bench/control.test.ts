/** `slimfast bench control` at a small size: everything arrives, each figure is there, and nothing is left. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../fixture/until.js";
import { Cli, ending } from "../testing/cli.js";

interface Times {
  readonly count: number;
  readonly p50Ms: number;
  readonly maxMs: number;
}

interface Result {
  readonly ok: boolean;
  readonly failures: readonly string[];
  readonly steady: {
    readonly toAgent: Times;
    readonly toAnswer: Times;
    readonly changes: number;
    readonly missing: number;
  };
  readonly joining: { readonly toAgent: Times; readonly missing: number };
  readonly join: Times & { readonly resources: number };
  readonly controller: { readonly residentMib: number; readonly peakMib: number; readonly cpuShare: number };
  readonly generators: Readonly<Record<string, { readonly cpuShare: number }>>;
  readonly targets: readonly { readonly name: string; readonly met: boolean }[];
}

const cli = new Cli(`/run/slimfast-e2e-control-${process.pid}`);
const directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-control-"));
/** Where the benchmark's own files go. */
const scratch = join(directory, "scratch");
const temporary = process.env.TMPDIR;
const SIZE = ["--agents", "20", "--networks", "4", "--endpoints", "200"];

beforeAll(() => {
  mkdirSync(scratch);
  process.env.TMPDIR = scratch;
});

afterAll(() => {
  if (temporary === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = temporary;
  rmSync(directory, { recursive: true, force: true });
});

it("each change reaches each agent of its network, and nodes that join get all that they need", async () => {
  const load = ["--changes", "50", "--seconds", "2", "--joins", "2", "--networks-per-agent", "2", "--generators", "2"];
  const result = await cli.json<Result>("bench", "control", ...SIZE, ...load);
  expect(result).toMatchObject({ ok: true, failures: [] });
  const { steady, joining, join: joined, controller, generators, targets } = result;
  // Ten agents in each network. The rate is the generator's to keep; what it asked for is what has to arrive.
  expect(steady.changes).toBeGreaterThan(10);
  expect(steady).toMatchObject({
    missing: 0,
    toAgent: { count: steady.changes * 10 },
    toAnswer: { count: steady.changes },
  });
  expect(steady.toAgent.p50Ms).toBeGreaterThan(0);
  expect(joining.missing).toBe(0);
  // Itself and the ten nodes of its network, the network, its 50 endpoints and its own.
  expect(joined).toMatchObject({ count: 2, resources: 63 });
  expect(controller.peakMib).toBeGreaterThanOrEqual(controller.residentMib);
  for (const { cpuShare } of [controller, ...Object.values(generators)]) expect(cpuShare).toBeGreaterThan(0);
  expect(targets.map(({ name }) => name)).toEqual([
    "propagation p50",
    "propagation p99",
    "controller's memory, most",
    "full state of a node that joins, slowest",
  ]);
  expect(readdirSync(scratch)).toEqual([]);
});

it("Ctrl-C ends all of its processes and leaves nothing", async () => {
  const child = cli.start(["bench", "control", ...SIZE, "--seconds", "600"]);
  const ended = ending(child);
  let said = "";
  child.stderr?.on("data", (text: string) => {
    said += text;
  });
  await until(() => said.includes("changes/s for"), "the load runs", 60_000);
  expect(readdirSync(scratch)).toHaveLength(1);
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ exitCode: 130, stderr: expect.stringContaining("interrupted") });
  expect(readdirSync(scratch)).toEqual([]);
});

it.each([
  ["--agents 0", ["--agents", "0"]],
  ["--seconds soon", ["--seconds", "soon"]],
  ["--networks 9: some would have no node", ["--agents", "4", "--networks", "9"]],
  ["--generators 5: at most as many as there are agents, 4", ["--agents", "4", "--networks", "4", "--generators", "5"]],
  ["--endpoints 3: at least one for each network", ["--networks", "4", "--endpoints", "3"]],
])("wrong usage is told before anything is started: %s", async (message, args) => {
  const { exitCode, stderr } = await cli.run(["bench", "control", ...args]);
  expect(stderr).toContain(message);
  expect(exitCode).toBe(2);
});
