/**
 * Measures what the BPF programs cost, by the kernel's run-time statistics. A pass of its own: statistics slow down
 * whatever runs at the same time. They are on while one process holds a descriptor, so they end with it.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { withAgent } from "../cluster/access.js";
import { cgroup2Mount } from "../cluster/cgroup.js";
import type { NodePlan } from "../cluster/plan.js";
import { CliError } from "../exit-codes.js";
import { rustProduct } from "../paths.js";
import { exec } from "../process/exec.js";
import { launch } from "../run/launch.js";
import { BenchProcess } from "./bench-process.js";
import { type Configuration, openTier, type TwoNodes } from "./configurations.js";
import { deriveHookCosts, type HookCosts, medianHookCosts, type Pass, type StatisticsSnapshot } from "./hook-costs.js";
import type { AgentPids } from "./leaks.js";

export interface HookOptions {
  readonly rounds: number;
  /** Complete connections per round. */
  readonly connections: number;
}

/** Twice as many packets. */
const ROUND_TRIPS = 10_000;
/** All are sent long before the first is sent again, after a second. */
const SYNS = 500;
/** Locally administered, and nobody's. */
const NOBODYS_MAC = "02:00:00:00:00:01";

/** The median of each figure over the rounds. */
export async function measureHooks(
  nodes: TwoNodes,
  pids: AgentPids,
  options: HookOptions,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<HookCosts> {
  const configuration = await openTier("preload", nodes, null, signal);
  const rounds: HookCosts[] = [];
  try {
    const statistics = startStatistics(nodes, pids);
    try {
      // It prints once when statistics are on.
      await statistics.next();
      for (let round = 0; round < options.rounds; round += 1) {
        signal.throwIfAborted();
        note(`round ${round + 1} of ${options.rounds}`);
        rounds.push(await measureRound(configuration, statistics, nodes, pids, options));
      }
    } finally {
      await statistics.end();
    }
  } finally {
    await configuration.close();
  }
  return medianHookCosts(rounds);
}

/** The empty programs are to see the packets of the server and the sockets of the client. */
function startStatistics({ client, server }: TwoNodes, pids: AgentPids): BenchProcess {
  const mount = cgroup2Mount();
  if (mount === null) throw new CliError("failed", "cgroup v2 is not mounted");
  const options = ["--pid", String(pids.client), "--pid", String(pids.server), "--cgroup", join(mount, client.cgroup)];
  const command = [`--net=/run/netns/${server.netns}`, "--", rustProduct("slimfast-bench"), "bpf-stats", ...options];
  const statistics = spawn("nsenter", command, { stdio: ["pipe", "pipe", "pipe"] });
  return new BenchProcess(statistics, "slimfast-bench bpf-stats");
}

async function measureRound(
  configuration: Configuration,
  statistics: BenchProcess,
  nodes: TwoNodes,
  pids: AgentPids,
  options: HookOptions,
): Promise<HookCosts> {
  const snapshot = async () => (await statistics.request()) as StatisticsSnapshot;
  const during = async (body: () => Promise<unknown>): Promise<Pass> => {
    const before = await snapshot();
    await body();
    return { before, after: await snapshot() };
  };
  const { target } = configuration;
  const count = options.connections;
  const roundTrips = await during(() => configuration.client(["rr", "--to", target, "--count", String(ROUND_TRIPS)]));
  const connections = await during(() =>
    configuration.client(["connect", "--to", target, "--count", String(count), "--warmup", "0"]),
  );
  const syns = await withoutAnswer(nodes, () => sendSyns(nodes.client, target, snapshot));
  const passes = { roundTrips, connections: { ...connections, count }, syns: { ...syns, count: SYNS } };
  return deriveHookCosts(passes, { clientPid: pids.client, serverPid: pids.server });
}

/** While `body` runs, packets from the client's node to the server's are taken by no one. */
async function withoutAnswer<Result>({ client, server }: TwoNodes, body: () => Promise<Result>): Promise<Result> {
  const neighbour = (...args: string[]) => exec("ip", ["-n", client.netns, "neigh", ...args]);
  const entry = [server.underlayAddress, "dev", "eth0"];
  await neighbour("replace", ...entry, "lladdr", NOBODYS_MAC, "nud", "permanent");
  try {
    return await body();
  } finally {
    await neighbour("del", ...entry);
  }
}

/** The snapshot after is taken before anything else happens to the connections. */
async function sendSyns(client: NodePlan, target: string, snapshot: () => Promise<StatisticsSnapshot>): Promise<Pass> {
  const before = await snapshot();
  const command = [rustProduct("slimfast-bench"), "half-open", "--to", target, "--count", String(SYNS)];
  const options = { network: "default", name: "", tier: "preload", publishedPorts: [], command } as const;
  const launched = await withAgent(client, (agent) => launch(agent, options, ["pipe", "pipe", "pipe"]));
  const process = new BenchProcess(launched.child, "slimfast-bench half-open");
  try {
    const { sent } = (await process.next()) as { sent: number };
    if (sent !== SYNS) throw new CliError("failed", `${sent} SYNs were sent instead of ${SYNS}`);
    return { before, after: await snapshot() };
  } finally {
    await process.end();
    const { endpoint } = launched.endpoint;
    await withAgent(client, (agent) =>
      agent.local.detachEndpoint({ network: options.network, name: endpoint?.name ?? "" }),
    );
  }
}
