/** A server that is a child of this process: its output is kept for messages, and stopping it is waited for. */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError } from "../../../exit-codes.js";
import type { Server } from "./network.js";

const STOP_GRACE_MS = 5_000;
const KEPT_OUTPUT_CHARS = 4_000;

export interface SpawnPlace {
  /** Network namespace under /run/netns. */
  readonly netns: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts it in a namespace, not in any endpoint. */
export function spawnServer(place: SpawnPlace, address: string, command: readonly string[]): Server {
  const child = spawn("nsenter", [`--net=/run/netns/${place.netns}`, "--", ...command], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C", ...place.env },
  });
  return childServer(child, address, async () => undefined);
}

/** @param afterwards what has to be done when it has ended */
export function childServer(child: ChildProcess, address: string, afterwards: () => Promise<void>): Server {
  const { pid } = child;
  if (pid === undefined) throw new CliError("failed", `${child.spawnfile} could not be started`);
  let output = "";
  const keep = (text: string) => {
    output = (output + text).slice(-KEPT_OUTPUT_CHARS);
  };
  child.stdout?.setEncoding("utf8").on("data", keep);
  child.stderr?.setEncoding("utf8").on("data", keep);
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", () => resolve());
  });
  let stopping: Promise<void> | null = null;
  const stop = async () => {
    child.kill("SIGTERM");
    const late = sleep(STOP_GRACE_MS, true, { ref: false });
    if (await Promise.race([ended.then(() => false), late])) child.kill("SIGKILL");
    await ended;
    await afterwards();
  };
  return {
    address,
    pid,
    output: () => output.trim(),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}
