/** AgentService: messages in, use cases of the cluster and the sync hub, messages out. */
import * as proto from "@slimfast/proto";
import type { CallContext } from "nice-grpc";
import type { Logger } from "pino";
import type { ReportHub } from "../connections/report-hub.js";
import { reportMethod } from "../connections/report-method.js";
import { checkProtocolVersion } from "../domain/requests/node.js";
import type { Endpoint } from "../domain/resources.js";
import { validName } from "../domain/validation.js";
import { invalidField, notFound } from "../errors.js";
import { WAIT_FOR_PEERS_MS } from "../limits.js";
import { endpointMessage } from "../messages.js";
import type { Enrollment } from "../security/enrollment.js";
import type { Store } from "../store/store.js";
import type { EncodedAgentService } from "../sync/encoding.js";
import type { SyncHub, SyncStream } from "../sync/hub.js";
import { renewCertificate } from "./access-service.js";
import type { Cluster } from "./cluster.js";
import { presentNode } from "./nodes.js";

export interface AgentServiceParts {
  readonly cluster: Cluster;
  readonly store: Store;
  readonly hub: SyncHub;
  readonly reports: ReportHub;
  readonly enrollment: Enrollment;
  readonly log: Logger;
}

export function agentService({
  cluster,
  store,
  hub,
  reports,
  enrollment,
  log,
}: AgentServiceParts): EncodedAgentService {
  /** How many creations are not answered yet, by network and name. */
  const pending = new Map<string, number>();
  const pendingKey = ({ network, name }: Pick<Endpoint, "network" | "name">): string => `${network}/${name}`;
  const countPending = (key: string, difference: number): void => {
    const count = (pending.get(key) ?? 0) + difference;
    if (count > 0) pending.set(key, count);
    else pending.delete(key);
  };

  async function openStream(hello: proto.SyncHello): Promise<SyncStream> {
    const node = validName("hello.node", hello.node);
    if (!store.getNode(node)) throw notFound("node", node);
    const stale = await cluster.deleteStaleEndpoints(node, hello.attached, (endpoint) =>
      pending.has(pendingKey(endpoint)),
    );
    for (const { network, name, id } of stale)
      log.info({ node, network, endpoint: name, id }, "stale endpoint deleted");
    return hub.open(hello);
  }

  /** Reads the acks, beside the responses that are being written. */
  async function readAcks(stream: SyncStream, requests: AsyncIterator<proto.SyncRequest>): Promise<void> {
    try {
      for (let item = await requests.next(); !item.done; item = await requests.next()) {
        const { kind } = item.value;
        if (kind?.$case !== "ack") throw invalidField("kind", "must be an ack after the first request");
        hub.acknowledge(stream, kind.value.nonce, kind.value.error);
      }
      stream.end();
    } catch (error) {
      stream.end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  return {
    renewCertificate: renewCertificate(enrollment),

    async registerNode({ node, protocolVersion }) {
      checkProtocolVersion(protocolVersion, proto.AGENT_PROTOCOL_VERSION);
      const registered = await cluster.registerNode(node);
      return { node: presentNode(registered, hub) };
    },

    async createEndpoint({ endpoint: wanted, waitForPeers }) {
      // Before it exists: a hello that cannot name it yet must not take it for a stale one.
      const key = pendingKey(wanted ?? { network: "", name: "" });
      countPending(key, 1);
      try {
        const endpoint = await cluster.createEndpoint(wanted);
        const knownToPeers =
          waitForPeers && (await hub.waitForNetwork(endpoint.network, endpoint.revision, WAIT_FOR_PEERS_MS));
        return { endpoint: endpointMessage(endpoint), knownToPeers };
      } finally {
        countPending(key, -1);
      }
    },

    async deleteEndpoint({ network, name, id }) {
      await cluster.deleteEndpoint(network, name, id);
      return {};
    },

    report: reportMethod(reports, {
      isNode: (name) => store.getNode(name) !== undefined,
      noteUnguarded: (node, endpoints) => cluster.noteUnguarded(node, endpoints),
    }),

    async *sync(request: AsyncIterable<proto.SyncRequest>, context: CallContext) {
      const requests = request[Symbol.asyncIterator]();
      const first = await requests.next();
      if (first.done) return;
      if (first.value.kind?.$case !== "hello") throw invalidField("kind", "must be a hello in the first request");
      const stream = await openStream(first.value.kind.value);
      const end = () => stream.end();
      context.signal.addEventListener("abort", end);
      void readAcks(stream, requests);
      try {
        yield* stream.responses();
      } finally {
        context.signal.removeEventListener("abort", end);
        hub.closed(stream);
      }
    },
  };
}
