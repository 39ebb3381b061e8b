/** The load generator that is the orchestrator: makes the cluster, then lets endpoints come and go at a fixed rate. */
import { AgentServiceDefinition, ClusterServiceDefinition } from "@slimfast/proto";
import { createClientFactory } from "nice-grpc";
import { openChannel } from "./channel.js";
import { monotonicMs } from "./clock.js";
import { type Reply, runGenerator } from "./generator.js";
import type { Changes } from "./messages.js";
import {
  agentsOfNetworks,
  type ClusterShape,
  changedName,
  endpointName,
  endpointPlaces,
  networkName,
  networkPrefix,
  nodeName,
  underlayAddress,
} from "./shape.js";

const FRONT_PORTS = { first: 7_100, count: 16 };
/** Calls at a time while the cluster is made. */
const CONCURRENCY = 128;
const PROGRESS_MS = 500;
/** How often the load looks whether an operation is due. */
const TICK_MS = 2;
/** An endpoint of the load is deleted so long after its creation was answered. */
const LIFE_MS = 2_000;
/** Room for an hour at 1,000/s. */
const MAX_OPERATIONS = 7_200_000;

function clients(listen: string) {
  const channel = openChannel(listen);
  const factory = createClientFactory();
  return {
    agent: factory.create(AgentServiceDefinition, channel),
    cluster: factory.create(ClusterServiceDefinition, channel),
    close: () => channel.close(),
  };
}

async function atATime(items: Iterable<() => Promise<unknown>>, done: () => void): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) {
      await next.value();
      done();
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

async function populate(listen: string, shape: ClusterShape, reply: Reply): Promise<void> {
  const { agent, cluster, close } = clients(listen);
  let done = 0;
  const count = () => {
    done += 1;
  };
  const progress = setInterval(() => reply({ kind: "progress", done }), PROGRESS_MS);
  const numbers = (size: number) => Array.from({ length: size }, (_, index) => index);
  try {
    await atATime(
      numbers(shape.networks).map(
        (index) => () => cluster.createNetwork({ network: { name: networkName(index), prefix: networkPrefix() } }),
      ),
      count,
    );
    await atATime(
      numbers(shape.agents).map(
        (index) => () =>
          agent.registerNode({
            node: { name: nodeName(index), underlayAddress: underlayAddress(index), frontPorts: FRONT_PORTS },
            protocolVersion: 0,
          }),
      ),
      count,
    );
    const creations = function* () {
      let number = 0;
      for (const place of endpointPlaces(shape)) {
        const name = endpointName(number);
        number += 1;
        const endpoint = { name, network: networkName(place.network), node: nodeName(place.agent) };
        yield () => agent.createEndpoint({ endpoint });
      }
    };
    await atATime(creations(), count);
  } finally {
    clearInterval(progress);
    close();
  }
  reply({ kind: "done" });
}

let stopChanges: (() => Promise<Changes>) | undefined;

/** Open loop: an operation is asked for when it is due, whatever became of those before it. */
function change(listen: string, shape: ClusterShape, perSecond: number): () => Promise<Changes> {
  const { agent, close } = clients(listen);
  const own = agentsOfNetworks(shape);
  const askedMs: number[] = [];
  const answeredMs: number[] = [];
  const networks: number[] = [];
  const failures: string[] = [];
  const running = new Set<Promise<void>>();
  /** Endpoints that can be deleted, and from when on. */
  const alive: { readonly change: number; readonly fromMs: number }[] = [];
  let created = 0;
  let operations = 0;
  const startMs = monotonicMs();

  const ask = (operation: number, network: number, call: () => Promise<unknown>): void => {
    networks[operation] = network;
    askedMs[operation] = monotonicMs();
    const call_ = call().then(
      () => {
        answeredMs[operation] = monotonicMs();
        if (operation % 2 === 0) alive.push({ change: operation / 2, fromMs: monotonicMs() + LIFE_MS });
      },
      (error: unknown) => void failures.push(error instanceof Error ? error.message : String(error)),
    );
    running.add(call_);
    void call_.finally(() => running.delete(call_));
  };
  const create = (): void => {
    const number = created;
    created += 1;
    const network = number % shape.networks;
    const nodes = own[network] ?? [];
    const node = nodes[Math.floor(number / shape.networks) % nodes.length] ?? 0;
    const endpoint = { name: changedName(number), network: networkName(network), node: nodeName(node) };
    ask(number * 2, network, () => agent.createEndpoint({ endpoint }));
  };
  const remove = (number: number): void => {
    const network = number % shape.networks;
    ask(number * 2 + 1, network, () =>
      agent.deleteEndpoint({ network: networkName(network), name: changedName(number) }),
    );
  };
  const timer = setInterval(() => {
    const dueOperations = Math.min(((monotonicMs() - startMs) / 1_000) * perSecond, MAX_OPERATIONS);
    for (; operations < dueOperations; operations += 1) {
      const oldest = alive[0];
      if (oldest && oldest.fromMs <= monotonicMs() && operations % 2 === 1) {
        alive.shift();
        remove(oldest.change);
      } else create();
    }
  }, TICK_MS);

  return async () => {
    clearInterval(timer);
    await Promise.all(running);
    close();
    const size = created * 2;
    const column = (values: readonly number[]) => Float64Array.from({ length: size }, (_, index) => values[index] ?? 0);
    return {
      askedMs: column(askedMs),
      answeredMs: column(answeredMs),
      networks: Uint16Array.from({ length: size }, (_, index) => networks[index] ?? 0),
      failures,
    };
  };
}

runGenerator(async (command, reply) => {
  if (command.kind === "populate") await populate(command.listen, command.shape, reply);
  else if (command.kind === "change") {
    stopChanges = change(command.listen, command.shape, command.perSecond);
    reply({ kind: "done" });
  } else if (command.kind === "stop") {
    const changes = await stopChanges?.();
    if (!changes) throw new Error("no load is running");
    stopChanges = undefined;
    reply({ kind: "changes", changes });
  }
});
