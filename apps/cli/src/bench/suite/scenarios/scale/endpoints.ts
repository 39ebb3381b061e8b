/**
 * Endpoints on both nodes, each with a process that sleeps: attached through the agent's own API, started by the launcher,
 * as the command line and orchestrators' plugins do it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type AgentClient, connectAgent } from "@slimfast/client";
import { agentAddress } from "../../../../cluster/plan.js";
import { CliError } from "../../../../exit-codes.js";
import type { Launched } from "../../../../run/launch.js";
import type { Side } from "../../networks/network.js";
import type { Growth, Site } from "../scenario.js";
import { atATime, launchIn } from "./in-endpoint.js";
import { kernelBytes, residentBytes } from "./memory.js";

/** Of one node; what each takes is mostly the kernel's work of making a namespace. */
const CONCURRENCY = 4;
/** Queues fill, garbage is collected. */
const SETTLE_MS = 3_000;
/** A preload endpoint has 64 sockets ready in its queue as well, whose memory is not what is asked about. */
const TIER = "notify";
/** With fewer, what else the machine does is the larger part of the difference. */
const FEWEST_FOR_MEMORY = 100;

const PREFIX = "bench-scale-";
/** Taking a namespace away waits for the kernel, longer on a busy machine than on a quiet one. */
const REMOVAL_TIMEOUT_MS = 900_000;
const REMOVAL_POLL_MS = 250;

interface Place {
  readonly side: Side;
  readonly agent: AgentClient;
  /** Of its agent and keeper. */
  readonly pids: readonly number[];
  readonly launched: Launched[];
}

export async function growEndpoints({ nodes, agents, signal }: Site): Promise<Growth> {
  const [ofClient = 0, ofServer = 0] = agents.keepers;
  const place = (side: Side, pids: readonly number[]): Place => ({
    side,
    agent: connectAgent({ address: agentAddress(nodes[side]) }),
    pids,
    launched: [],
  });
  const places = [place("client", [agents.client, ofClient]), place("server", [agents.server, ofServer])];
  const agentBytes = () => places.map(({ pids }) => residentBytes(pids));
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const before = { agents: sum(agentBytes()), kernel: kernelBytes() };
  return {
    reach: async (size) => {
      const add = async ({ agent, side, launched: own }: Place) => {
        const first = own.length;
        await atATime(size - first, CONCURRENCY, async (number) => {
          signal.throwIfAborted();
          own.push(await launchIn(agent, TIER, `${PREFIX}${side}-${first + number}`, ["sleep", "infinity"], "ignore"));
        });
      };
      await atATime(places.length, places.length, async (index) => {
        const place = places[index];
        if (place) await add(place);
      });
      const isEnough = size >= FEWEST_FOR_MEMORY;
      if (isEnough) await sleep(SETTLE_MS);
      const [now, endpoints] = [agentBytes(), size * places.length];
      const agentMib = Math.max(...now) / 2 ** 20;
      if (!isEnough) return { "slimfast-notify": { agentMib } };
      const kib = (bytes: number) => bytes / 1_024 / endpoints;
      const agentKibPerEndpoint = kib(sum(now) - before.agents);
      const kernelKibPerEndpoint = kib(kernelBytes() - before.kernel);
      return { "slimfast-notify": { agentMib, agentKibPerEndpoint, kernelKibPerEndpoint } };
    },
    close: async () => {
      const gone = places.flatMap(({ launched }) => launched.splice(0));
      for (const { child } of gone) child.kill("SIGKILL");
      await Promise.all(gone.map(({ ended }) => ended));
      // The agents take away what no process is in any more, at their own pace: a call for each could wait too long.
      for (const { agent } of places) await untilGone(agent);
      for (const { agent } of places) agent.close();
    },
  };
}

/** @throws CliError if the agent still has some of them after a long time */
async function untilGone({ local }: AgentClient): Promise<void> {
  const deadline = Date.now() + REMOVAL_TIMEOUT_MS;
  for (;;) {
    const { endpoints } = await local.listAttachedEndpoints({});
    const left = endpoints.filter(({ endpoint }) => endpoint?.name.startsWith(PREFIX)).length;
    if (left === 0) return;
    if (Date.now() > deadline)
      throw new CliError("failed", `the agent still has ${left} endpoints whose processes have ended`);
    await sleep(REMOVAL_POLL_MS);
  }
}
