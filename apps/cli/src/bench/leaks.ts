/**
 * Whether connections leave anything behind: descriptors and memory of the agents, sockets of the nodes, entries of the
 * BPF maps. Both tiers in turn, in blocks, each block a client of its own that comes and goes.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { keeperPids } from "../cluster/processes.js";
import { readState } from "../cluster/state-file.js";
import { CliError } from "../exit-codes.js";
import { rustProduct } from "../paths.js";
import { exec } from "../process/exec.js";
import { closeConfigurations, openTier, type TwoNodes } from "./configurations.js";
import { compareHoldings, type Holdings, type LeakReport, residentKib, socketsInUse } from "./holdings.js";

export interface LeakOptions {
  readonly connections: number;
}

/** Process ids of the agents of the two nodes. */
export interface AgentPids {
  readonly client: number;
  readonly server: number;
  /** Of their keepers, which make the containers' sockets: what they take counts as the agents'. */
  readonly keepers: readonly number[];
}

/** After as many, pools, caches and the agents' heaps have their working size. */
const WARM_UP_CONNECTIONS = 5_000;
const BLOCKS = 10;
/** Events are handled and endpoints removed some time after the client has ended. */
const SETTLE_TIMEOUT_MS = 15_000;
const SETTLE_PAUSE_MS = 500;

/** @throws CliError if an agent of the cluster is not known */
export function agentPids(runDir: string, { client, server }: TwoNodes): AgentPids {
  const processes = readState(runDir)?.processes ?? [];
  const pid = (node: string) => {
    const found = processes.find((it) => it.role === "agent" && it.node === node);
    if (!found) throw new CliError("failed", `the agent of ${node} is not known`);
    return found.pid;
  };
  return {
    client: pid(client.name),
    server: pid(server.name),
    keepers: [keeperPid(client), keeperPid(server)],
  };
}

function keeperPid({ name, runDir }: TwoNodes["client"]): number {
  const [pid] = keeperPids(runDir);
  if (pid === undefined) throw new CliError("failed", `the keeper of ${name} is not known`);
  return pid;
}

export async function measureLeaks(
  nodes: TwoNodes,
  pids: AgentPids,
  options: LeakOptions,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<LeakReport> {
  const tiers = [await openTier("preload", nodes, null, signal), await openTier("notify", nodes, null, signal)];
  try {
    const block = async (index: number, count: number) => {
      signal.throwIfAborted();
      const tier = tiers[index % tiers.length];
      await tier?.client(["connect", "--to", tier.target, "--count", String(count), "--warmup", "0"]);
    };
    note("warming up");
    for (let index = 0; index < tiers.length; index += 1) {
      await block(index, Math.ceil(WARM_UP_CONNECTIONS / tiers.length));
    }
    await sleep(SETTLE_PAUSE_MS);
    const before = await holdings(pids);
    const series = [resident(pids)];
    const perBlock = Math.ceil(options.connections / BLOCKS);
    for (let index = 0; index < BLOCKS; index += 1) {
      note(`${index * perBlock} of ${BLOCKS * perBlock} connections`);
      await block(index, perBlock);
      series.push(resident(pids));
    }
    const after = await settled(before, pids);
    return compareHoldings(before, after, BLOCKS * perBlock, series);
  } finally {
    await closeConfigurations(tiers);
  }
}

async function settled(before: Holdings, pids: AgentPids): Promise<Holdings> {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    const now = await holdings(pids);
    const left = compareHoldings(before, now, 1, [0]);
    const clean = left.descriptors <= 0 && left.sockets <= 0 && left.mapEntries <= 0;
    if (clean || Date.now() > deadline) return now;
    await sleep(SETTLE_PAUSE_MS);
  }
}

async function holdings(pids: AgentPids): Promise<Holdings> {
  const each = [pids.client, pids.server];
  const stdout = await exec(rustProduct("slimfast-bench"), ["bpf-maps", ...each.flatMap((pid) => ["--pid", `${pid}`])]);
  return {
    descriptors: sum([...each, ...pids.keepers], (pid) => readdirSync(`/proc/${pid}/fd`).length),
    // An agent is in its node's network namespace.
    sockets: sum(each, (pid) => socketsInUse(readFileSync(`/proc/${pid}/net/sockstat`, "utf8"))),
    maps: (JSON.parse(stdout) as { maps: Holdings["maps"] }).maps,
  };
}

function resident(pids: AgentPids): number {
  return sum([pids.client, pids.server, ...pids.keepers], (pid) =>
    residentKib(readFileSync(`/proc/${pid}/status`, "utf8")),
  );
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}
