/** `slimfast bench [SCENARIO…]`: the comparison of SlimFast with other networks on real programs. */
import { readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { connectController } from "@slimfast/client";
import { twoNodes } from "../bench/configurations.js";
import { agentPids } from "../bench/leaks.js";
import { machineFacts, unusualConditions } from "../bench/machine.js";
import { type Comparison, compareResults } from "../bench/suite/compare.js";
import { NETWORKS, type NetworkName } from "../bench/suite/networks/network.js";
import { closeNetworks, openNetworks } from "../bench/suite/networks/open.js";
import { BENCH_NETWORK } from "../bench/suite/networks/slimfast.js";
import { programsOf, programVersions, requirePrograms } from "../bench/suite/programs.js";
import { REPORT_PROGRAM, writeReport } from "../bench/suite/report/write.js";
import {
  type CaseResult,
  type Profile,
  parseResult,
  RESULT_KIND,
  RESULT_VERSION,
  type SuiteResult,
} from "../bench/suite/result.js";
import { sourceRevision } from "../bench/suite/revision.js";
import { runScenario } from "../bench/suite/run-suite.js";
import { SCENARIOS } from "../bench/suite/scenarios/all.js";
import type { Case, Effort, Scenario, Site } from "../bench/suite/scenarios/scenario.js";
import { caseTable, comparisonTable, suiteTargetTable } from "../bench/suite/suite-table.js";
import { suiteTargets } from "../bench/suite/suite-targets.js";
import { controllerAddress, DEFAULT_FRONT_PORTS, planCluster } from "../cluster/plan.js";
import { startCluster } from "../cluster/start.js";
import { stopCluster } from "../cluster/stop.js";
import { CliError, EXIT } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatTable, printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";
import { runSteps, sayProgress, type Verbosity } from "../progress.js";

export interface BenchSuiteOptions {
  readonly against?: string;
  readonly rounds?: string;
  readonly profile: string;
  readonly json?: string;
  readonly report?: string;
  readonly compare?: string;
  readonly list?: boolean;
  readonly check?: boolean;
}

const PROFILES: Readonly<Record<Profile, { readonly rounds: number; readonly effort: Effort }>> = {
  quick: { rounds: 1, effort: { seconds: 0.25, operations: 400 } },
  full: { rounds: 7, effort: { seconds: 2, operations: 4_000 } },
};

interface Plan {
  readonly scenarios: readonly Scenario[];
  readonly networks: readonly NetworkName[];
  readonly rounds: number;
  readonly profile: Profile;
  /** What to compare with. */
  readonly before: SuiteResult | null;
}

export async function benchSuite(names: readonly string[], options: BenchSuiteOptions): Promise<void> {
  if (options.list) return list();
  const plan = parse(names, options);
  // JSON alone goes to stdout; then nothing else does.
  const toStdout = options.json === "-";
  const verbosity = toStdout ? "quiet" : "normal";
  await requirePrograms([...programsOf(plan.scenarios), ...(options.report === undefined ? [] : [REPORT_PROGRAM])]);
  const result = await run(plan, verbosity);
  const comparison = plan.before && compareResults(plan.before, result);
  if (options.json !== undefined && !toStdout) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
  if (options.report !== undefined) {
    const page = await writeReport(options.report, result, comparison);
    if (!toStdout) sayProgress(`report: ${page}`);
  }
  if (toStdout) printJson(comparison ? { ...result, comparison } : result);
  else print(result, comparison);
  if (options.check && result.targets.some(({ outcome }) => outcome === "missed")) process.exitCode = EXIT.failed;
}

function print({ cases, targets }: SuiteResult, comparison: Comparison | null): void {
  for (const one of cases) printLine(`\n${caseTable(one)}`);
  if (targets.length > 0) printLine(`\n${suiteTargetTable(targets)}`);
  if (comparison) printLine(`\n${comparisonTable(comparison)}`);
}

function list(): void {
  const rows = SCENARIOS.flatMap(({ name, cases }) => cases.map((one) => [`${name}.${one.name}`, one.title]));
  printLine(formatTable(["CASE", ""], rows));
  printLine(`\nNetworks: ${NETWORKS.join(", ")}`);
}

async function run(plan: Plan, verbosity: Verbosity): Promise<SuiteResult> {
  const cluster = planCluster(`${runDirectory()}-bench`, 2, DEFAULT_FRONT_PORTS);
  const startedAt = new Date();
  const loadBefore = loadavg()[0] ?? 0;
  const machine = machineFacts();
  const unusual = unusualConditions(machine);
  if (unusual !== undefined) sayProgress(unusual);
  const watch = watchInterrupts();
  try {
    await startCluster(cluster, verbosity, "attended");
    try {
      const cases = await measure(plan, cluster, verbosity, watch.signal);
      return {
        kind: RESULT_KIND,
        version: RESULT_VERSION,
        startedAt: startedAt.toISOString(),
        elapsedSeconds: Math.round((Date.now() - startedAt.getTime()) / 1_000),
        revision: await sourceRevision(),
        machine,
        programs: await programVersions(plan.scenarios),
        loadBefore,
        profile: plan.profile,
        rounds: plan.rounds,
        networks: plan.networks,
        cases,
        targets: suiteTargets(cases),
      };
    } finally {
      await stopCluster(cluster.runDir, verbosity);
    }
  } catch (error) {
    if (watch.signal.aborted) throw new CliError("interrupted", "interrupted");
    throw error;
  } finally {
    watch.close();
  }
}

async function measure(
  plan: Plan,
  cluster: ReturnType<typeof planCluster>,
  verbosity: Verbosity,
  signal: AbortSignal,
): Promise<CaseResult[]> {
  const nodes = twoNodes(cluster);
  const { effort } = PROFILES[plan.profile];
  const agents = agentPids(cluster.runDir, nodes);
  const site: Site = { nodes, agents, controllerAddress: controllerAddress(cluster.runDir), signal };
  await createNetwork(site.controllerAddress);
  const networks = await openNetworks(plan.networks, nodes, agents, signal);
  const cases: CaseResult[] = [];
  try {
    await runSteps(
      plan.scenarios.map((scenario) => ({
        title: `${scenario.name}: ${scenario.description}`,
        run: async (note) => {
          cases.push(...(await runScenario(scenario, { networks, site, rounds: plan.rounds, effort, signal, note })));
        },
      })),
      verbosity,
    );
    return cases;
  } finally {
    await closeNetworks(networks);
  }
}

async function createNetwork(address: string): Promise<void> {
  const controller = connectController({ address });
  try {
    await controller.cluster.createNetwork({ network: { ...BENCH_NETWORK } });
  } finally {
    controller.close();
  }
}

/** @throws CliError `usage` */
function parse(names: readonly string[], options: BenchSuiteOptions): Plan {
  const { profile } = options;
  if (profile !== "quick" && profile !== "full") {
    throw new CliError("usage", `--profile ${profile}: must be quick or full`);
  }
  const rounds = options.rounds === undefined ? PROFILES[profile].rounds : Number(options.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new CliError("usage", `--rounds ${options.rounds}: must be a number of at least 1`);
  }
  const scenarios = selectScenarios(names, profile);
  return { scenarios, networks: parseNetworks(options.against), rounds, profile, before: readBefore(options.compare) };
}

/** In the order of the suite, each with the cases that are asked for. @param names `SCENARIO` or `SCENARIO.CASE` */
function selectScenarios(names: readonly string[], profile: Profile): readonly Scenario[] {
  const isKnown = (name: string) =>
    SCENARIOS.some(
      (scenario) => name === scenario.name || scenario.cases.some((one) => name === caseName(scenario, one)),
    );
  const unknown = names.find((name) => !isKnown(name));
  if (unknown !== undefined) {
    throw new CliError("usage", `there is no scenario ${unknown}`, {
      remedy: `the scenarios are: ${SCENARIOS.map(({ name }) => name).join(", ")}; their cases: slimfast bench --list`,
    });
  }
  return SCENARIOS.flatMap((scenario) => {
    const isWhole = names.length === 0 || names.includes(scenario.name);
    const isAsked = (one: Case) =>
      names.includes(caseName(scenario, one)) || (isWhole && !(profile === "quick" && one.isFullOnly));
    const cases = scenario.cases.filter(isAsked);
    return cases.length === 0 ? [] : [{ ...scenario, cases }];
  });
}

function caseName(scenario: Scenario, one: Case): string {
  return `${scenario.name}.${one.name}`;
}

function parseNetworks(text: string | undefined): NetworkName[] {
  if (text === undefined) return [...NETWORKS];
  const names = text.split(",");
  const unknown = names.find((name) => !NETWORKS.some((known) => known === name));
  if (unknown !== undefined) {
    throw new CliError("usage", `--against: there is no network ${unknown === "" ? '""' : unknown}`, {
      remedy: `the networks are: ${NETWORKS.join(", ")}`,
    });
  }
  return NETWORKS.filter((name) => names.includes(name));
}

function readBefore(path: string | undefined): SuiteResult | null {
  if (path === undefined) return null;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new CliError("usage", `--compare ${path}: cannot be read`, { cause });
  }
  return parseResult(text, path);
}
