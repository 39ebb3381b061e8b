/** The demo from beginning to end: cluster, workloads, checks, measurements. Owns the order and the undoing of it. */

import { type AgentClient, connectAgent } from "@slimfast/client";
import type { ConfigurationName } from "../bench/configurations.js";
import type { ConnectTimes } from "../bench/run-bench.js";
import { measureSetup, type SetupReport } from "../bench/setup.js";
import { agentAddress, type ClusterPlan, DEFAULT_FRONT_PORTS, planCluster } from "../cluster/plan.js";
import { startCluster } from "../cluster/start.js";
import { stopCluster } from "../cluster/stop.js";
import { CliError } from "../exit-codes.js";
import { runSteps, type Verbosity } from "../progress.js";
import { type CheckResult, runChecks } from "./checks.js";
import { startWorkloads, type Workloads } from "./workloads.js";

export interface DemoReport {
  readonly ok: boolean;
  readonly checks: readonly CheckResult[];
  readonly setup: Record<ConfigurationName, ConnectTimes>;
}

export interface RunningDemo {
  readonly plan: ClusterPlan;
  readonly workloads: Workloads;
  readonly report: DemoReport;
  readonly measured: SetupReport;
  /** Stops the workloads and the cluster. */
  stop(): Promise<void>;
}

/** Enough for a stable median of a demonstration; `slimfast bench setup` measures with care. */
const DEMO_BENCH = {
  rounds: 3,
  connections: 1_000,
  requests: 0,
  bulkSeconds: 0,
  placement: { client: 0, server: 0 },
} as const;

/** @throws CliError if it does not get as far as a report; nothing is left behind then. */
export async function startDemo(runDir: string, signal: AbortSignal, verbosity: Verbosity): Promise<RunningDemo> {
  const plan = planCluster(runDir, 2, DEFAULT_FRONT_PORTS);
  const [clientNode, serverNode] = plan.nodes;
  if (!clientNode || !serverNode) throw new CliError("failed", "the demo needs two nodes");
  await startCluster(plan, verbosity, "attended");
  const clients: AgentClient[] = [];
  const open = (node: typeof clientNode) => {
    const agent = connectAgent({ address: agentAddress(node) });
    clients.push(agent);
    return agent;
  };
  const running: { workloads?: Workloads; checks?: CheckResult[]; measured?: SetupReport } = {};
  const stop = async () => {
    try {
      await running.workloads?.stop();
    } finally {
      for (const agent of clients) agent.close();
      await stopCluster(plan.runDir, verbosity);
    }
  };
  try {
    const clientAgent = open(clientNode);
    const serverAgent = open(serverNode);
    await runSteps(
      [
        {
          title: `starting nginx (an OCI container under runc) and memcached on ${serverNode.name}`,
          run: async () => {
            running.workloads = await startWorkloads(serverAgent, plan.runDir);
          },
        },
        {
          title: `checking from ${clientNode.name}`,
          run: async (note) => {
            if (!running.workloads) return;
            const { workloads } = running;
            running.checks = await runChecks({ clientAgent, serverNode, workloads, signal }, note);
          },
        },
        {
          title: "measuring connection setup",
          run: async (note) => {
            running.measured = await measureSetup(plan, DEMO_BENCH, signal, note);
          },
        },
      ],
      verbosity,
    );
  } catch (error) {
    await stop();
    if (signal.aborted) throw new CliError("interrupted", "interrupted");
    throw error;
  }
  const { workloads, checks, measured } = running;
  if (!workloads || !checks || !measured) throw new CliError("failed", "a step of the demo gave no result");
  const report = { ok: checks.every((check) => check.ok), checks, setup: measured.setup };
  return { plan, workloads, report, measured, stop };
}
