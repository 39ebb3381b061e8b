/** The benchmark suite itself: every network carries every scenario, results are whole, and Ctrl-C leaves nothing. */
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../fixture/until.js";
import { Cli, ending } from "../testing/cli.js";
import { type MachineState, machineState } from "../testing/machine.js";

interface Summary {
  readonly median: number;
  readonly samples: readonly number[];
}

interface Result {
  readonly kind: string;
  readonly rounds: number;
  readonly machine: { readonly cpus: number };
  readonly programs: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly scenario: string;
    readonly case: string;
    readonly primary: string;
    readonly size?: number;
    readonly networks: Readonly<Record<string, Readonly<Record<string, Summary>>>>;
    readonly ratios: Readonly<Record<string, { toHost: { value: number } | null; toSlim: { value: number } | null }>>;
    readonly growth?: Readonly<Record<string, { toSmallest: { value: number }; beyondHost: { value: number } | null }>>;
  }[];
  readonly targets: readonly { readonly name: string; readonly outcome: string }[];
  readonly comparison?: {
    readonly changes: readonly { readonly verdict: string }[];
    readonly hasEnoughRounds: boolean;
  };
}

const NETWORKS = ["host", "vxlan", "slim", "slimfast-notify", "slimfast-preload"];
/** One of each kind: own load, a server with its own load, standard generators, two legs. */
const SCENARIOS = [
  ...["crr", "memcached", "redis", "nginx-proxy.short-upstream-short-1k"],
  ...["scale-connections", "scale-endpoints", "scale-table"],
];
/** What grows is SlimFast's. */
const GROWING_NETWORKS = ["host", "slimfast-notify", "slimfast-preload"];
/** `slimfast test --full` runs them all. */
const ASKED = process.env.SLIMFAST_TEST_FULL === "1" ? [] : SCENARIOS;
const RUN_MS = 300_000;

const runDir = `/run/slimfast-e2e-suite-${process.pid}`;
const benchRunDir = `${runDir}-bench`;
const tag = `${createHash("sha256").update(benchRunDir).digest("hex").slice(0, 4)}-`;
const cli = new Cli(runDir);
const directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-bench-"));
/** Where the suite's own files go, so that what is left of them can be seen. PostgreSQL's own user comes here, too. */
const scratch = join(directory, "scratch");
const temporary = process.env.TMPDIR;

interface Traces extends MachineState {
  readonly files: readonly string[];
}

function traces(): Traces {
  return { ...machineState(benchRunDir, tag), files: readdirSync(scratch) };
}

beforeAll(() => {
  mkdirSync(scratch);
  chmodSync(directory, 0o755);
  process.env.TMPDIR = scratch;
});

afterAll(() => {
  if (temporary === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = temporary;
  rmSync(directory, { recursive: true, force: true });
});

describe("a quick run", () => {
  const file = join(directory, "first.json");
  const report = join(directory, "report");
  let before: Traces;
  let result: Result;

  beforeAll(async () => {
    before = traces();
    const ended = await cli.run(["bench", ...ASKED, "--profile", "quick", "--json", file, "--report", report]);
    expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
    expect(ended.stdout).toContain("memcached.connection-per-request");
    result = JSON.parse(readFileSync(file, "utf8")) as Result;
  }, RUN_MS);

  it("measures every case on every network", () => {
    expect(result).toMatchObject({ kind: "slimfast-bench", rounds: 1, machine: { cpus: expect.any(Number) } });
    const names = result.cases.flatMap((one) => [one.scenario, `${one.scenario}.${one.case}`]);
    expect(names).toEqual(expect.arrayContaining(SCENARIOS));
    for (const one of result.cases) {
      const networks = one.size === undefined ? NETWORKS : GROWING_NETWORKS;
      expect(Object.keys(one.networks), `${one.scenario}.${one.case}`).toEqual(networks);
      for (const name of networks) {
        const primary = one.networks[name]?.[one.primary];
        expect(primary?.samples, `${one.scenario}.${one.case} on ${name}`).toHaveLength(1);
        expect(primary?.median).toBeGreaterThan(0);
        expect(one.ratios[name]?.toHost?.value).toBeGreaterThan(0);
        if (one.size === undefined) expect(one.ratios[name]?.toSlim?.value).toBeGreaterThan(0);
      }
    }
  });

  it("compares each size of what grows with the smallest", () => {
    const growing = result.cases.filter(({ size }) => size !== undefined);
    expect(growing.map(({ scenario, size }) => `${scenario}.${size}`)).toEqual([
      ...["scale-connections.1", "scale-connections.1000", "scale-endpoints.1", "scale-endpoints.10"],
      ...["scale-table.1", "scale-table.1000"],
    ]);
    for (const { scenario, size, growth } of growing) {
      expect(Object.keys(growth ?? {}), `${scenario}.${size}`).toEqual(size === 1 ? [] : GROWING_NETWORKS);
      for (const name of Object.keys(growth ?? {})) expect(growth?.[name]?.toSmallest.value).toBeGreaterThan(0);
    }
    expect(growing[3]?.networks["slimfast-notify"]?.agentMib?.median).toBeGreaterThan(0);
  });

  it("accounts CPU time to client, server and agents", () => {
    const crr = result.cases.find((one) => one.scenario === "crr" && one.case === "16-clients");
    for (const name of NETWORKS) {
      const figures = crr?.networks[name];
      expect(Object.keys(figures ?? {})).toEqual(
        expect.arrayContaining(["cpuClientUs", "cpuServerUs", "cpuNetworkUs", "cpuMachineUs"]),
      );
      expect(figures?.cpuMachineUs?.median).toBeGreaterThan(0);
    }
  });

  it("has latency percentiles of what has latencies, and CPU time per GiB where bytes are counted", () => {
    const keysOf = (name: string) => {
      const [scenario, one] = name.split(".");
      const found = result.cases.find((it) => it.scenario === scenario && it.case === one);
      return Object.keys(found?.networks["slimfast-preload"] ?? {});
    };
    const percentiles = ["p50Us", "p99Us", "p999Us"];
    for (const name of ["crr.16-clients", "memcached.persistent", "nginx-proxy.short-upstream-short-1k"]) {
      expect(keysOf(name), name).toEqual(expect.arrayContaining(["perSecond", ...percentiles]));
    }
    expect(keysOf("nginx-proxy.short-upstream-short-1k")).toEqual(
      expect.arrayContaining(["cpuClientMsPerGib", "cpuServerMsPerGib", "cpuNetworkMsPerGib", "cpuMachineMsPerGib"]),
    );
  });

  it("says of each target whether it was met, and with which programs", () => {
    expect(result.targets.length).toBeGreaterThan(0);
    for (const { outcome } of result.targets) expect(["met", "missed"]).toContain(outcome);
    expect(result.programs).toMatchObject({
      nginx: expect.stringContaining("nginx"),
      wrk: expect.stringContaining("wrk"),
    });
  });

  it("writes a report that stands alone", () => {
    const page = readFileSync(join(report, "index.html"), "utf8");
    // One for each case, and one for each scenario that grows.
    const scenarios = result.cases.filter(({ size }) => size === 1).map(({ scenario }) => scenario);
    const plots = [...result.cases.map((one) => `${one.scenario}.${one.case}`), ...scenarios];
    expect(page.match(/<svg /g)).toHaveLength(plots.length);
    expect(page).not.toMatch(/(?:src|href)="(?!result\.json")|url\(|@import|<(?:script|link|iframe|object|img)\b/);
    const files = plots.flatMap((name) => [`${name}.png`, `${name}.svg`]);
    expect(readdirSync(report).sort()).toEqual(["index.html", "result.json", ...files].sort());
    for (const name of plots) {
      const svg = readFileSync(join(report, `${name}.svg`), "utf8");
      const [, width, height] = /^<svg .* width="(\d+)" height="(\d+)"/.exec(svg) ?? [];
      const png = readFileSync(join(report, `${name}.png`));
      expect(png.subarray(0, 8).toString("latin1"), name).toBe("\x89PNG\r\n\x1a\n");
      expect([png.readUInt32BE(16), png.readUInt32BE(20)], name).toEqual([2 * Number(width), 2 * Number(height)]);
    }
    expect(JSON.parse(readFileSync(join(report, "result.json"), "utf8"))).toEqual(result);
  });

  it("leaves nothing", () => {
    expect(traces()).toEqual(before);
  });

  it(
    "compares with an earlier result, and does not call one round a change",
    async () => {
      const args = [
        "bench",
        "crr.16-clients",
        "--against",
        "host,slimfast-preload",
        "--profile",
        "quick",
        "--compare",
        file,
      ];
      const { stdout, stderr, exitCode } = await cli.run([...args, "--json", "-"]);
      expect(exitCode, stderr).toBe(0);
      const { comparison } = JSON.parse(stdout) as Result;
      expect(comparison?.hasEnoughRounds).toBe(false);
      expect(comparison?.changes.map(({ verdict }) => verdict)).toEqual(Array(2).fill("no change"));
    },
    RUN_MS,
  );
});

it("Ctrl-C in the middle of a measurement removes everything", { timeout: RUN_MS }, async () => {
  const before = traces();
  const child = cli.start(["bench", "crr", "--against", "slim,slimfast-notify", "--profile", "full"]);
  const ended = ending(child);
  const measures = () => machineState(benchRunDir, tag).namespaces.some((name) => name.endsWith("bench-s-run"));
  await until(measures, "the suite measures", RUN_MS / 2);
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ exitCode: 130, stderr: expect.stringContaining("interrupted") });
  expect(traces()).toEqual(before);
});

it.each([
  ["there is no scenario crrr", ["crrr"]],
  ["there is no network docker", ["crr", "--against", "host,docker"]],
  ["--rounds 0", ["crr", "--rounds", "0"]],
  ["--profile slow", ["crr", "--profile", "slow"]],
  ["cannot be read", ["crr", "--compare", join(directory, "no-such-file")]],
])("wrong usage is told before anything is started: %s", async (message, args) => {
  const { exitCode, stderr } = await cli.run(["bench", ...args]);
  expect(stderr).toContain(message);
  expect(exitCode).toBe(2);
});
