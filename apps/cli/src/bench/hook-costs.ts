/**
 * What the BPF programs cost, out of snapshots of the kernel's run-time statistics. Pure. docs/performance.md explains
 * the method; here is the arithmetic:
 *
 * - A run of a program is accounted with the time that reading the clock takes. Programs that do nothing, attached at
 *   the same time, show that time, which depends on what is in the CPU's caches: one sees the receiver's packets, one
 *   the sender's sockets. Every figure called `net` has it subtracted once per run.
 * - A SYN by itself is taken from two passes. Sender: connections of which nothing but the SYN is sent, so that all runs
 *   of the connect hook and of sockops belong to SYNs. Receiver: complete connections; dispatch runs for SYNs only, and
 *   of the ingress hook's time the packets that are not SYNs are subtracted at what they cost in the first pass.
 */

import { median } from "./statistics.js";

/** Of one program since statistics were first enabled. */
export interface RunTime {
  readonly runCount: number;
  readonly runTimeNs: number;
}

/** What `slimfast-bench bpf-stats` prints. */
export interface StatisticsSnapshot {
  readonly programs: readonly (RunTime & { readonly pid: number; readonly name: string })[];
  readonly emptyOnPackets: RunTime;
  readonly emptyOnSockets: RunTime;
}

/** Which agents' programs play which part. */
export interface Sides {
  readonly clientPid: number;
  readonly serverPid: number;
}

/** Snapshots before and after one pass. */
export interface Pass {
  readonly before: StatisticsSnapshot;
  readonly after: StatisticsSnapshot;
}

export interface HookPasses {
  /** Round trips on one connection. */
  readonly roundTrips: Pass;
  /** Complete connections: setup, one byte each way, reset. */
  readonly connections: Pass & { readonly count: number };
  /** SYNs without an answer. */
  readonly syns: Pass & { readonly count: number };
}

export interface ProgramCost {
  readonly side: "client" | "server";
  readonly program: string;
  readonly runsPerConnection: number;
  /** As the kernel counts it. */
  readonly grossNsPerConnection: number;
  readonly netNsPerConnection: number;
}

export interface SynCost {
  readonly connectNs: number;
  readonly sockopsNs: number;
  readonly ingressNs: number;
  readonly dispatchNs: number;
  readonly totalNs: number;
}

export interface HookCosts {
  /** One run of a program that does nothing: what the statistics themselves cost, by where it runs. */
  readonly emptyNs: { readonly onPackets: number; readonly onSockets: number };
  /** Net, of the ingress hook on a packet that is no SYN. */
  readonly ingressNonSynNs: number;
  /** Net, of all hooks on the SYN of one connection, on both nodes. */
  readonly syn: SynCost;
  /** All runs over a connection's whole life; programs that did not run are left out. */
  readonly perConnection: readonly ProgramCost[];
}

const INGRESS = "sf_ingress";
const DISPATCH = "sf_dispatch";
const CONNECT = "sf_connect4";
const SOCKOPS = "sf_sockops";
const EMPTY = "the empty program";

/** The median of each figure over rounds. @throws RangeError for no rounds */
export function medianHookCosts(rounds: readonly HookCosts[]): HookCosts {
  const of = (read: (costs: HookCosts) => number) => median(rounds.map(read));
  const programs = rounds[0]?.perConnection ?? [];
  const perConnection = programs.map(({ side, program }): ProgramCost => {
    const same = rounds.flatMap((costs) =>
      costs.perConnection.filter((it) => it.side === side && it.program === program),
    );
    const cost = (read: (cost: ProgramCost) => number) => rounded(median(same.map(read)));
    return {
      side,
      program,
      runsPerConnection: cost((it) => it.runsPerConnection),
      grossNsPerConnection: cost((it) => it.grossNsPerConnection),
      netNsPerConnection: cost((it) => it.netNsPerConnection),
    };
  });
  const syn = {
    connectNs: rounded(of((costs) => costs.syn.connectNs)),
    sockopsNs: rounded(of((costs) => costs.syn.sockopsNs)),
    ingressNs: rounded(of((costs) => costs.syn.ingressNs)),
    dispatchNs: rounded(of((costs) => costs.syn.dispatchNs)),
    totalNs: rounded(of((costs) => costs.syn.totalNs)),
  };
  const empty = {
    onPackets: rounded(of((costs) => costs.emptyNs.onPackets)),
    onSockets: rounded(of((costs) => costs.emptyNs.onSockets)),
  };
  return { emptyNs: empty, ingressNonSynNs: rounded(of((costs) => costs.ingressNonSynNs)), syn, perConnection };
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

/** @throws RangeError if a pass did not run what it is there to measure */
export function deriveHookCosts(passes: HookPasses, sides: Sides): HookCosts {
  const { clientPid, serverPid } = sides;
  const { count } = passes.connections;
  const ingressNonSynNs =
    meanNs(runs(passes.roundTrips, serverPid, INGRESS), INGRESS) - emptyNs(passes.roundTrips).onPackets;

  const empty = emptyNs(passes.connections);
  const ingress = runs(passes.connections, serverPid, INGRESS);
  const ingressNs = (netNs(ingress, empty.onPackets) - (ingress.runCount - count) * ingressNonSynNs) / count;
  const dispatchNs = netNs(runs(passes.connections, serverPid, DISPATCH), empty.onPackets) / count;

  // No packet comes in while nobody answers, so only one of the empty programs runs.
  const emptyOnSyns = meanNs(difference(passes.syns.before.emptyOnSockets, passes.syns.after.emptyOnSockets), EMPTY);
  const connectNs = netNs(runs(passes.syns, clientPid, CONNECT), emptyOnSyns) / passes.syns.count;
  const sockopsNs = netNs(runs(passes.syns, clientPid, SOCKOPS), emptyOnSyns) / passes.syns.count;

  const perConnection = passes.connections.after.programs
    .map(({ pid, name }): ProgramCost => {
      const spent = runs(passes.connections, pid, name);
      const onPackets = name === INGRESS || name === DISPATCH;
      return {
        side: pid === clientPid ? "client" : "server",
        program: name,
        runsPerConnection: spent.runCount / count,
        grossNsPerConnection: spent.runTimeNs / count,
        netNsPerConnection: netNs(spent, onPackets ? empty.onPackets : empty.onSockets) / count,
      };
    })
    // What ran now and then belongs to the client's start and end.
    .filter(({ runsPerConnection }) => runsPerConnection >= 0.5);

  const totalNs = connectNs + sockopsNs + ingressNs + dispatchNs;
  return {
    emptyNs: empty,
    ingressNonSynNs,
    syn: { connectNs, sockopsNs, ingressNs, dispatchNs, totalNs },
    perConnection,
  };
}

function meanNs({ runCount, runTimeNs }: RunTime, program: string): number {
  if (runCount === 0) throw new RangeError(`${program} did not run`);
  return runTimeNs / runCount;
}

function runs({ before, after }: Pass, pid: number, name: string): RunTime {
  const find = (snapshot: StatisticsSnapshot) => snapshot.programs.find((it) => it.pid === pid && it.name === name);
  const first = find(before);
  const last = find(after);
  if (!first || !last) throw new RangeError(`process ${pid} has no program ${name}`);
  return difference(first, last);
}

function emptyNs({ before, after }: Pass): HookCosts["emptyNs"] {
  return {
    onPackets: meanNs(difference(before.emptyOnPackets, after.emptyOnPackets), EMPTY),
    onSockets: meanNs(difference(before.emptyOnSockets, after.emptyOnSockets), EMPTY),
  };
}

function netNs({ runCount, runTimeNs }: RunTime, runEmptyNs: number): number {
  return runTimeNs - runCount * runEmptyNs;
}

function difference(before: RunTime, after: RunTime): RunTime {
  return { runCount: after.runCount - before.runCount, runTimeNs: after.runTimeNs - before.runTimeNs };
}
