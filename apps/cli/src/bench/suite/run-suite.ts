/**
 * Runs the suite: one scenario after the other, each on all networks at once. Rounds are interleaved, and each begins with
 * another network, so that whatever else the machine does meets all of them.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rotated } from "../setup.js";
import { type CpuTimes, cpuBetween, readCpuTimes } from "./cpu.js";
import type { Values } from "./metrics.js";
import type { Network, NetworkName } from "./networks/network.js";
import { type CaseResult, caseResult } from "./result.js";
import type { Effort, Measurement, OpenScenario, Scenario } from "./scenarios/scenario.js";

export interface SuiteRun {
  readonly networks: readonly Network[];
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

async function runCases(scenario: Scenario, running: readonly Running[], run: SuiteRun): Promise<CaseResult[]> {
  const samples = scenario.cases.map(() => new Map<NetworkName, Values[]>());
  for (let round = 0; round < run.rounds; round += 1) {
    for (const [index, { name }] of scenario.cases.entries()) {
      for (const one of rotated(running, round)) {
        run.signal.throwIfAborted();
        run.note(`round ${round + 1} of ${run.rounds}: ${name} on ${one.network.name}`);
        const values = await measure(one, name, run.effort);
        const into = samples[index]?.get(one.network.name);
        if (into) into.push(values);
        else samples[index]?.set(one.network.name, [values]);
      }
    }
  }
  return scenario.cases.map(({ name, title, primary }, index) =>
    caseResult({ scenario: scenario.name, case: name, title, primary }, samples[index] ?? new Map()),
  );
}

async function measure({ network, scenario }: Running, name: string, effort: Effort): Promise<Values> {
  const serverPids = scenario.servers.map(({ pid }) => pid);
  const before = readCpuTimes(serverPids, network.ownPids);
  const measurement = await scenario.measure(name, effort);
  const used = cpuBetween(before, readCpuTimes(serverPids, network.ownPids));
  return { ...measurement.values, ...cpuValues(used, measurement.work) };
}

/** Starting the client is in its share. Exported for its test. */
export function cpuValues(used: CpuTimes, work: Measurement["work"]): Values {
  if ("operations" in work) {
    const per = (us: number) => us / work.operations;
    return {
      cpuClientUs: per(used.clientUs),
      cpuServerUs: per(used.serverUs),
      cpuNetworkUs: per(used.networkUs),
      cpuMachineUs: per(used.machineUs),
    };
  }
  const per = (us: number) => us / 1_000 / (work.bytes / 2 ** 30);
  return {
    cpuClientMsPerGib: per(used.clientUs),
    cpuServerMsPerGib: per(used.serverUs),
    cpuNetworkMsPerGib: per(used.networkUs),
    cpuMachineMsPerGib: per(used.machineUs),
  };
}
