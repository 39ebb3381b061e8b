/** A container under runc, in the endpoint that the agent has made for it. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { AgentClient } from "@slimfast/client";
import { CliError } from "../exit-codes.js";
import { BASE_PROFILE } from "../oci/base-profile.js";
import { mergeProfile } from "../oci/profile.js";
import { logTail } from "../process/daemon.js";
import { tryExec } from "../process/exec.js";
import { createNginxBundle } from "./oci-bundle.js";

export interface Container {
  readonly name: string;
  /** Overlay address. */
  readonly address: string;
  readonly netnsPath: string;
  /** Resolves when it has ended; the end of its log. */
  readonly ended: Promise<string>;
  /** Idempotent. */
  stop(): Promise<void>;
}

const STOP_GRACE_MS = 3_000;

/** Where bundles and runc's own state are kept. */
function ociDirectory(runDir: string): string {
  return join(runDir, "oci");
}

function runcArguments(runDir: string, ...args: string[]): string[] {
  return ["--root", join(ociDirectory(runDir), "state"), ...args];
}

export async function startNginxContainer(agent: AgentClient, runDir: string, name: string): Promise<Container> {
  const { seccompSocket } = await agent.local.getStatus({});
  const { endpoint: attached } = await agent.local.attachEndpoint({ name, network: "default", ephemeral: true });
  const endpoint = attached?.endpoint;
  if (!attached || !endpoint) throw new CliError("failed", "the agent answered without an endpoint");

  const directory = join(ociDirectory(runDir), name);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const seccomp = mergeProfile(BASE_PROFILE, seccompSocket, attached.listenerMetadata);
  await createNginxBundle({ directory, hostname: name, netnsPath: attached.netnsPath, seccomp });

  const containerId = `${endpoint.node}-${name}`;
  const logPath = join(directory, "log");
  const log = openSync(logPath, "w", 0o600);
  const child = spawn("runc", runcArguments(runDir, "run", "--bundle", directory, containerId), {
    stdio: ["ignore", log, log],
    // Ctrl-C is for the demo, which then stops the container in order.
    detached: true,
  });
  closeSync(log);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`  ${error.message}`));
    child.once("exit", () => resolve(logTail(logPath)));
  });
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await tryExec("runc", runcArguments(runDir, "kill", containerId, "TERM"));
    const timer = new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS).unref());
    await Promise.race([ended, timer]);
    await tryExec("runc", runcArguments(runDir, "delete", "--force", containerId));
    await agent.local.detachEndpoint({ network: endpoint.network, name: endpoint.name });
    rmSync(directory, { recursive: true, force: true });
  };
  return { name, address: endpoint.address, netnsPath: attached.netnsPath, ended, stop };
}

/** Removes containers that a crashed demo has left in this run directory, with runc's cgroups. */
export async function removeContainers(runDir: string): Promise<void> {
  const state = join(ociDirectory(runDir), "state");
  if (existsSync(state)) {
    for (const id of readdirSync(state)) await tryExec("runc", runcArguments(runDir, "delete", "--force", id));
  }
  rmSync(ociDirectory(runDir), { recursive: true, force: true });
}
