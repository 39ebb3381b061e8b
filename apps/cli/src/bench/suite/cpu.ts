/**
 * CPU time by who used it: the client (children of this process that have ended meanwhile), the servers' process trees, the
 * network's own processes, and the whole machine. Work that the kernel does in interrupts is charged to whoever was running
 * then, so only the machine's figure is whole; it includes whatever else runs.
 */
import { readFileSync } from "node:fs";
import { fieldsAfterName, type Relative, readProcesses, treesOf } from "../../process/tree.js";

/** USER_HZ, which Linux fixes for /proc on all architectures that we run on. */
const TICKS_PER_SECOND = 100;

export interface CpuTimes {
  readonly clientUs: number;
  readonly serverUs: number;
  readonly networkUs: number;
  readonly machineUs: number;
}

export interface ProcessTimes extends Relative {
  /** Its own, and those of children that it has waited for, in ticks. */
  readonly ticks: number;
}

/** Now; only differences mean anything. */
export function readCpuTimes(serverPids: readonly number[], ownPids: readonly number[]): CpuTimes {
  const processes = readProcesses(parseProcess);
  return {
    clientUs: toUs(childrenTicks(readFileSync("/proc/self/stat", "latin1"))),
    serverUs: toUs(treeTicks(processes, serverPids)),
    networkUs: toUs(treeTicks(processes, ownPids)),
    machineUs: toUs(busyTicks(readFileSync("/proc/stat", "latin1"))),
  };
}

export function cpuBetween(before: CpuTimes, after: CpuTimes): CpuTimes {
  return {
    clientUs: after.clientUs - before.clientUs,
    serverUs: after.serverUs - before.serverUs,
    networkUs: after.networkUs - before.networkUs,
    machineUs: after.machineUs - before.machineUs,
  };
}

export function parseProcess(pid: number, stat: string): ProcessTimes {
  const fields = fieldsAfterName(stat);
  const number = (index: number) => Number(fields[index] ?? 0);
  return { pid, parent: number(1), ticks: number(11) + number(12) + number(13) + number(14) };
}

export function childrenTicks(stat: string): number {
  const fields = fieldsAfterName(stat);
  return Number(fields[13] ?? 0) + Number(fields[14] ?? 0);
}

/** All but idle and waiting for disks, and without guests, which are counted in user already. */
export function busyTicks(procStat: string): number {
  const [, ...fields] = (procStat.split("\n")[0] ?? "").split(/\s+/);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields.map(Number);
  return user + nice + system + irq + softirq;
}

/** Of the processes and all their descendants that live. */
export function treeTicks(processes: readonly ProcessTimes[], roots: readonly number[]): number {
  return treesOf(processes, roots).reduce((total, { ticks }) => total + ticks, 0);
}

function toUs(ticks: number): number {
  return (ticks * 1_000_000) / TICKS_PER_SECOND;
}
