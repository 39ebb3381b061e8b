/** A load generator that is some of the agents, or all: a process of its own, started by `bench control`. */
import { AgentServiceDefinition } from "@slimfast/proto";
import { type ChannelCredentials, createClientFactory, waitForChannelReady } from "nice-grpc";
import { AgentStream, Numbers } from "./agent-stream.js";
import { openChannel } from "./channel.js";
import { monotonicMs } from "./clock.js";
import { Enrollment, type Joining } from "./enrollment.js";
import { type Reply, runGenerator } from "./generator.js";
import type { Command } from "./messages.js";
import {
  agentsOfNetworks,
  agentsOfPart,
  type ClusterShape,
  endpointName,
  endpointPlaces,
  endpointsOfNetwork,
  networkName,
  networksOf,
  nodeName,
  type Part,
  underlayAddress,
} from "./shape.js";

const FRONT_PORTS = { first: 7_100, count: 16 };
const PROGRESS_MS = 500;
/** Enrollments, and connections that are being established, at a time. */
const CONCURRENCY = 64;
/** For one connection: TCP and TLS. */
const CONNECTION_MS = 60_000;

/** How the cluster is joined; set by the command `enroll`. */
let enrollment: Enrollment | undefined;
let address = "";
const credentials: ChannelCredentials[] = [];
const numbers = new Numbers();
const agents = new Map<number, AgentStream>();
/** Pairs of operation and time. */
let receipts = new Float64Array(1 << 16);
let receiptCount = 0;

function heard(operation: number, atMs: number): void {
  if (receiptCount + 2 > receipts.length) {
    const larger = new Float64Array(receipts.length * 2);
    larger.set(receipts);
    receipts = larger;
  }
  receipts[receiptCount] = operation;
  receipts[receiptCount + 1] = atMs;
  receiptCount += 2;
}

/** What an agent of these networks holds: itself and their other nodes, the networks, and their endpoints. */
function held(agent: number, networks: readonly number[], shape: ClusterShape): number {
  const nodes = new Set([agent, ...networks.flatMap((network) => nodesOf(shape)[network] ?? [])]);
  const endpoints = networks.reduce((sum, network) => sum + endpointsOfNetwork(network, shape), 0);
  return nodes.size + networks.length + endpoints;
}

let nodesOfNetworks: number[][] | undefined;

function nodesOf(shape: ClusterShape): number[][] {
  nodesOfNetworks ??= agentsOfNetworks(shape);
  return nodesOfNetworks;
}

function joined(): Enrollment {
  if (!enrollment) throw new Error("nobody has enrolled");
  return enrollment;
}

async function enroll(joining: Joining, shape: ClusterShape, part: Part, reply: Reply): Promise<void> {
  address = joining.address;
  enrollment = new Enrollment(joining);
  let done = 0;
  const progress = setInterval(() => reply({ kind: "progress", done }), PROGRESS_MS);
  const waiting = agentsOfPart(shape, part);
  const worker = async () => {
    for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
      credentials[agent] = await joined().enroll(nodeName(agent));
      done += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  } finally {
    clearInterval(progress);
  }
  reply({ kind: "done" });
}

async function connect(shape: ClusterShape, part: Part, reply: Reply): Promise<void> {
  const attached = Array.from({ length: shape.agents }, (): { network: string; name: string; id: number }[] => []);
  let number = 0;
  for (const { network, agent } of endpointPlaces(shape)) {
    // Id 0: whichever it has, the endpoint stays.
    attached[agent]?.push({ network: networkName(network), name: endpointName(number), id: 0 });
    number += 1;
  }
  const startMs = monotonicMs();
  let firstMs = 0;
  let current = 0;
  const progress = setInterval(() => reply({ kind: "progress", done: current }), PROGRESS_MS);
  try {
    const holdings: Promise<void>[] = [];
    const waiting = agentsOfPart(shape, part);
    const worker = async () => {
      for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
        const channel = openChannel(address, credentials[index]);
        await waitForChannelReady(channel, new Date(Date.now() + CONNECTION_MS));
        const own = attached[index] ?? [];
        const agent = new AgentStream({ channel, node: nodeName(index), attached: own, numbers, heard });
        agents.set(index, agent);
        agent.start();
        const holding = agent.holds(held(index, networksOf(index, shape), shape)).then(() => {
          if (current === 0) firstMs = monotonicMs() - startMs;
          current += 1;
        });
        // It is waited for below; until then its failure is nobody's.
        holding.catch(() => undefined);
        holdings.push(holding);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    await Promise.all(holdings);
  } finally {
    clearInterval(progress);
  }
  reply({ kind: "connected", elapsedMs: monotonicMs() - startMs, firstMs });
}

/** From the asking for a certificate until everything is there that the node needs. */
async function join(command: Extract<Command, { kind: "join" }>, reply: Reply): Promise<void> {
  const { shape, agent: number, network } = command;
  const node = nodeName(number);
  const startMs = monotonicMs();
  const channel = openChannel(address, await joined().enroll(node));
  const client = createClientFactory().create(AgentServiceDefinition, channel);
  await client.registerNode({
    node: { name: node, underlayAddress: underlayAddress(number), frontPorts: FRONT_PORTS },
    protocolVersion: 0,
  });
  const name = `joined-${number}`;
  await client.createEndpoint({ endpoint: { name, network: networkName(network), node } });
  const attached = [{ network: networkName(network), name, id: 0 }];
  // What it gets at first has not just changed, so it is no witness of the load.
  const agent = new AgentStream({ channel, node, attached, numbers, heard: () => undefined });
  agents.set(number, agent);
  agent.start();
  const resources = held(number, [network], shape) + 1;
  await agent.holds(resources);
  reply({ kind: "joined", elapsedMs: monotonicMs() - startMs, resources });
}

/** Names of agents that do not hold each endpoint of each of their networks. */
function wrong(shape: ClusterShape): string[] {
  const endpointsOf = Array.from({ length: shape.networks }, (): string[] => []);
  for (let endpoint = 0; endpoint < shape.endpoints; endpoint += 1) {
    const network = endpoint % shape.networks;
    endpointsOf[network]?.push(`e:${networkName(network)}/${endpointName(endpoint)}`);
  }
  const found: string[] = [];
  nodesOf(shape).forEach((own, network) => {
    for (const index of own) {
      const agent = agents.get(index);
      if (!agent) continue;
      const missing = (endpointsOf[network] ?? []).filter((name) => !agent.held.has(numbers.of(name)));
      if (missing.length > 0) found.push(`${agent.node}: ${missing.length} endpoints missing, ${missing[0]}`);
    }
  });
  return found;
}

runGenerator(async (command, reply) => {
  if (command.kind === "enroll") await enroll(command.joining, command.shape, command.part, reply);
  else if (command.kind === "connect") await connect(command.shape, command.part, reply);
  else if (command.kind === "join") await join(command, reply);
  else if (command.kind === "collect") {
    reply({ kind: "collected", receipts: receipts.slice(0, receiptCount), wrong: wrong(command.shape) });
  }
});
