/**
 * The record of what a cluster has put on this machine, in RUN_DIR/cluster.json. Written before each step that changes
 * anything, and right after each process is started, so that whoever comes after a crash finds everything. Also the
 * lock that keeps two commands from changing one cluster at a time.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { CliError, messageOf } from "../exit-codes.js";
import { identityOf, isAlive, type ProcessIdentity } from "../process/identity.js";
import type { ClusterPlan } from "./plan.js";

export interface ProcessRecord extends ProcessIdentity {
  readonly role: "controller" | "agent";
  /** Name of the agent's node; null for the controller. */
  readonly node: string | null;
  readonly logPath: string;
}

export type Phase =
  /** Steps of `up` are under way, or it crashed. */
  | "starting"
  | "up"
  /** Steps of `down` are under way, or it crashed. */
  | "stopping";

export interface ClusterState {
  readonly version: 1;
  readonly plan: ClusterPlan;
  /** The command that stays and takes the cluster down when it ends; null for one that was left to itself. */
  readonly attendant: ProcessIdentity | null;
  /** Where the console is; absent in what earlier versions wrote. */
  consoleUrl?: string;
  phase: Phase;
  processes: ProcessRecord[];
}

const STATE = "cluster.json";
const NEW_STATE = `${STATE}.new`;
const LOCK = "cluster.lock";
const LOGS = "logs";
/** What a run directory has before there is a state file in it. */
const BEFORE_STATE: readonly string[] = [LOCK, LOGS, NEW_STATE];

function statePath(runDir: string): string {
  return join(runDir, STATE);
}

function lockPath(runDir: string): string {
  return join(runDir, LOCK);
}

export function logDirectory(runDir: string): string {
  return join(runDir, LOGS);
}

/** Null if there is none. A file that cannot be read is an error: it names things that have to be removed. */
export function readState(runDir: string): ClusterState | null {
  let text: string;
  try {
    text = readFileSync(statePath(runDir), "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return null;
    if (isErrno(error, "EACCES")) {
      throw new CliError("failed", `${statePath(runDir)} can be read by root only`, { remedy: "run this as root" });
    }
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CliError("failed", `${statePath(runDir)} is damaged`, {
      remedy: "remove what it names by hand (ip netns list), then the file",
      cause,
    });
  }
  if (typeof value !== "object" || value === null || !("version" in value) || value.version !== 1) {
    throw new CliError("failed", `${statePath(runDir)} was written by another version of slimfast`, {
      remedy: "run `down` of that version",
    });
  }
  return value as ClusterState;
}

/** Atomic: a reader sees the old state or the new one. */
export function writeState(state: ClusterState): void {
  const { runDir } = state.plan;
  const beside = join(runDir, NEW_STATE);
  const descriptor = openSync(beside, "w", 0o600);
  try {
    writeFileSync(descriptor, JSON.stringify(state, null, 2));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(beside, statePath(runDir));
}

/** Whether an `up` was killed before it had written down anything to take down: all that can be there is its own files. */
export function isBarelyBegun(runDir: string): boolean {
  return existsSync(runDir) && readdirSync(runDir).every((name) => BEFORE_STATE.includes(name));
}

/** With the logs. The lock stays: the caller has it. */
export function removeState(runDir: string): void {
  for (const name of [LOGS, NEW_STATE, STATE]) rmSync(join(runDir, name), { recursive: true, force: true });
}

/** Whether it is up as it should be: every process runs, and whoever was to take it down has not been killed. */
export function isIntact(state: ClusterState): boolean {
  if (state.phase !== "up" || (state.attendant !== null && !isAlive(state.attendant))) return false;
  return state.processes.length === state.plan.nodes.length + 1 && state.processes.every(isAlive);
}

/**
 * Runs `body` as the only one that changes the cluster of this run directory.
 *
 * @throws CliError `busy` if another process does.
 */
export async function withLock<Result>(runDir: string, body: () => Promise<Result>): Promise<Result> {
  const path = lockPath(runDir);
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const isDenied = isErrno(cause, "EACCES") || isErrno(cause, "EROFS");
    const remedy = isDenied ? "run this as root" : "remove what is there, or choose another one with SLIMFAST_RUN_DIR";
    throw new CliError("failed", `${runDir} cannot be created: ${messageOf(cause)}`, { remedy, cause });
  }
  acquire(path);
  try {
    return await body();
  } finally {
    rmSync(path, { force: true });
    removeIfEmpty(runDir);
  }
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Somebody keeps something there: a cluster that is up, for example.
  }
}

function acquire(path: string): void {
  const mine = JSON.stringify(identityOf(process.pid));
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      writeFileSync(path, mine, { flag: "wx", mode: 0o600 });
      return;
    } catch (error) {
      if (isErrno(error, "EACCES") || isErrno(error, "EROFS")) {
        throw new CliError("failed", `${path} cannot be created`, { remedy: "run this as root", cause: error });
      }
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const holder = readHolder(path);
    if (holder && isAlive(holder)) {
      throw new CliError("busy", `process ${holder.pid} is changing the cluster at this moment`, {
        remedy: "wait until it has finished",
      });
    }
    rmSync(path, { force: true });
  }
  throw new CliError("busy", "another process is changing the cluster at this moment");
}

function readHolder(path: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessIdentity;
  } catch {
    return null;
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
