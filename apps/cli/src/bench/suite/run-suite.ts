/**
 * Runs the suite: one scenario after the other, each on all networks at once. Rounds are interleaved, and each begins with
 * another network, so that whatever else the machine does meets all of them.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rotated } from "../setup.js";
import { type CpuTimes, cpuBetween, readCpuTimes } from "./cpu.js";
import { withGrowth } from "./growth.js";
import type { Values } from "./metrics.js";
import type { Network, NetworkName } from "./networks/network.js";
import { type CaseResult, caseResult } from "./result.js";
import type { Effort, Measurement, OpenScenario, Scenario, Site } from "./scenarios/scenario.js";

export interface SuiteRun {
  readonly networks: readonly Network[];
  readonly site: Site;
  readonly rounds: number;
  readonly effort: Effort;
  readonly signal: AbortSignal;
  /** Is told what is being measured. */
  note(text: string): void;
}

interface Running {
  readonly network: Network;
  readonly scenario: OpenScenario;
}

/** All cases of one scenario. */
export async function runScenario(scenario: Scenario, run: SuiteRun): Promise<CaseResult[]> {
  const directory = mkdtempSync(join(tmpdir(), `slimfast-bench-${scenario.name}-`));
  const running: Running[] = [];
  try {
    for (const network of run.networks) {
      if (scenario.networks?.includes(network.name) === false) continue;
      run.signal.throwIfAborted();
      run.note(`starting on ${network.name}`);
      const own = join(directory, network.name);
      mkdirSync(own);
      running.push({ network, scenario: await scenario.open(network, own) });
    }
    return await runCases(scenario, running, run);
  } finally {
    for (const { scenario: open } of running) for (const server of [...open.servers].reverse()) await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

type Samples = Map<NetworkName, Values[]>;

async function runCases(scenario: Scenario, running: readonly Running[], run: SuiteRun): Promise<CaseResult[]> {
  const samples = scenario.cases.map((): Samples => new Map());
  const measureCase = async (index: number, round: number) => {
    const name = scenario.cases[index]?.name ?? "";
    for (const one of rotated(running, round)) {
      run.signal.throwIfAborted();
      run.note(`round ${round + 1} of ${run.rounds}: ${name} on ${one.network.name}`);
      addSample(samples[index], one.network.name, await measure(one, name, run.effort));
    }
  };
  if (scenario.openGrowth) {
    const growth = await scenario.openGrowth(run.site);
    try {
      for (const [index, { name, size = 0 }] of scenario.cases.entries()) {
        run.signal.throwIfAborted();
        run.note(`growing to ${name}`);
        const taken = await growth.reach(size);
        for (let round = 0; round < run.rounds; round += 1) await measureCase(index, round);
        addOnce(samples[index], taken);
      }
    } finally {
      run.note("removing what has grown");
      await growth.close();
    }
  } else {
    for (let round = 0; round < run.rounds; round += 1) {
      for (const index of scenario.cases.keys()) await measureCase(index, round);
    }
  }
  const results = scenario.cases.map(({ name, title, primary, size }, index) =>
    caseResult(
      { scenario: scenario.name, case: name, title, primary, ...(size === undefined ? {} : { size }) },
      samples[index] ?? new Map(),
    ),
  );
  return withGrowth(results);
}

function addSample(samples: Samples | undefined, network: NetworkName, values: Values): void {
  const into = samples?.get(network);
  if (into) into.push(values);
  else samples?.set(network, [values]);
}

/** What was measured once, not in rounds: one sample of it. */
function addOnce(samples: Samples | undefined, taken: Partial<Record<NetworkName, Values>>): void {
  for (const [network, rounds] of samples ?? []) rounds[0] = { ...rounds[0], ...taken[network] };
}

async function measure({ network, scenario }: Running, name: string, effort: Effort): Promise<Values> {
  const serverPids = scenario.servers.map(({ pid }) => pid);
  const before = readCpuTimes(serverPids, network.ownPids);
  const measurement = await scenario.measure(name, effort);
  const used = cpuBetween(before, readCpuTimes(serverPids, network.ownPids));
  return { ...measurement.values, ...cpuValues(used, measurement.work) };
}

/** Starting the client is in its share. Exported for its test. */
export function cpuValues(used: CpuTimes, { operations, bytes }: Measurement["work"]): Values {
  const perOperation = (us: number) => us / (operations ?? 1);
  const perGib = (us: number) => us / 1_000 / ((bytes ?? 1) / 2 ** 30);
  return {
    ...(operations !== undefined && {
      cpuClientUs: perOperation(used.clientUs),
      cpuServerUs: perOperation(used.serverUs),
      cpuNetworkUs: perOperation(used.networkUs),
      cpuMachineUs: perOperation(used.machineUs),
    }),
    ...(bytes !== undefined && {
      cpuClientMsPerGib: perGib(used.clientUs),
      cpuServerMsPerGib: perGib(used.serverUs),
      cpuNetworkMsPerGib: perGib(used.networkUs),
      cpuMachineMsPerGib: perGib(used.machineUs),
    }),
  };
}
