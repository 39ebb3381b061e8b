/**
 * A command in an endpoint: the endpoint is attached, slimfast-launch started in it, and the endpoint detached when the
 * command has ended, however that was.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import type { AgentClient } from "@slimfast/client";
import type { AttachedEndpoint } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { rustProduct } from "../paths.js";
import type { PublishedPort } from "./publish.js";

/** `plain`: not accelerated. */
export type TierChoice = "auto" | "notify" | "preload" | "plain";

export interface LaunchOptions {
  readonly network: string;
  /** Name of the endpoint; made up by the agent if empty. */
  readonly name: string;
  readonly tier: TierChoice;
  readonly publishedPorts: readonly PublishedPort[];
  readonly command: readonly string[];
  /** Fixed overlay addresses; chosen by the controller if left out. */
  readonly address?: string;
  readonly address6?: string;
}

export interface Launched {
  readonly endpoint: AttachedEndpoint;
  /** The IPv4 overlay address; empty where the network has none. */
  readonly address: string;
  /** The IPv6 overlay address; empty where the network has none. */
  readonly address6: string;
  readonly child: ChildProcess;
  /** How it ended. */
  readonly ended: Promise<Ending>;
  /** Removes the endpoint; the command should have ended. Idempotent. */
  detach(): Promise<void>;
}

/** Exactly one of them is not null. */
export interface Ending {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** As a shell puts it: 128 + n after signal n. */
export function exitCodeOf({ exitCode, signal }: Ending): number {
  return exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/** @throws SlimFastError or CliError; the endpoint is gone again then. */
export async function launch(
  agent: AgentClient,
  options: LaunchOptions,
  stdio: SpawnOptions["stdio"],
): Promise<Launched> {
  const { seccompSocket } = await agent.local.getStatus({});
  const attached = await attach(agent, options);
  const { endpoint } = attached;
  const detach = async () => {
    await agent.local.detachEndpoint({ network: endpoint.network, name: endpoint.name });
  };
  const [launcher = "", ...args] = launcherCommand(attached, seccompSocket, options.tier, options.command);
  const child = spawn(launcher, args, { stdio });
  const ended = new Promise<Ending>((resolve) => {
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
  });
  try {
    await once(child, "spawn");
  } catch (cause) {
    await detach();
    throw new CliError("failed", `${launcher} could not be started`, { cause });
  }
  return { endpoint: attached, address: endpoint.address, address6: endpoint.address6, child, ended, detach };
}

/** What starts a command in an endpoint that is attached. */
export function launcherCommand(
  { netnsPath, listenerMetadata }: AttachedEndpoint,
  seccompSocket: string,
  tier: TierChoice,
  command: readonly string[],
): string[] {
  return [
    ...[rustProduct("slimfast-launch"), "--netns", netnsPath, "--seccomp-socket", seccompSocket],
    ...["--metadata", listenerMetadata, "--tier", tier, "--preload-lib", rustProduct("libslimfast_preload.so")],
    ...["--", ...command],
  ];
}

async function attach(agent: AgentClient, options: LaunchOptions) {
  const { endpoint: attached } = await agent.local.attachEndpoint({
    name: options.name,
    network: options.network,
    publishedPorts: options.publishedPorts.map((port) => ({ ...port })),
    labels: {},
    // A plain command has no seccomp listener by whose end the agent could know that it has ended.
    ephemeral: options.tier !== "plain",
    plain: options.tier === "plain",
    address: options.address ?? "",
    address6: options.address6 ?? "",
  });
  if (!attached?.endpoint) throw new CliError("failed", "the agent answered without an endpoint");
  return { ...attached, endpoint: attached.endpoint };
}
