/**
 * A controller in this process, on a real unix socket, for tests of the agent: answers as the contract says from a store
 * in memory, records what it is asked, and fails, waits or goes away where a test says so.
 */
import { rm } from "node:fs/promises";
import {
  AgentServiceDefinition,
  type AgentServiceImplementation,
  ClusterServiceDefinition,
  type CreateEndpointRequest,
  type DeleteEndpointRequest,
  type Endpoint,
  ListEndpointsResponse,
  Network,
  Node,
  type ReportRequest,
  type ReportResponse,
  ResourceKind,
  type SyncAck,
  type SyncHello,
  type SyncRequest,
  SyncResponse,
} from "@slimfast/proto";
import { type CallContext, createServer, type Server, ServerError, Status } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { PushQueue } from "../push-queue.js";
import { Faults } from "./faults.js";

export type ControllerMethod =
  | "registerNode"
  | "createEndpoint"
  | "afterCreate"
  | "deleteEndpoint"
  | "listEndpoints"
  | "report";

/** A Sync stream that an agent has opened. */
export class FakeStream {
  readonly hello: SyncHello;
  readonly acks: SyncAck[] = [];
  isOver = false;
  readonly #responses = new PushQueue<SyncResponse>();
  #nonce = 0n;

  constructor(hello: SyncHello) {
    this.hello = hello;
  }

  send(response: Parameters<typeof SyncResponse.fromPartial>[0]): void {
    this.#nonce += 1n;
    this.#responses.push({ ...SyncResponse.fromPartial(response), nonce: this.#nonce });
  }

  end(): void {
    this.#responses.end();
  }

  responses(): AsyncIterable<SyncResponse> {
    return this.#responses;
  }
}

export class FakeController {
  readonly address: string;
  readonly faults = new Faults<ControllerMethod>();
  readonly registered: Node[] = [];
  readonly creations: CreateEndpointRequest[] = [];
  readonly deletions: DeleteEndpointRequest[] = [];
  readonly streams: FakeStream[] = [];
  /** What each Report stream has brought. */
  readonly reports: ReportRequest[][] = [];
  /** To the agent, on the last Report stream. */
  commands: PushQueue<ReportResponse> | undefined;
  readonly endpoints = new Map<string, Endpoint>();
  readonly network: Network = Network.fromPartial({ name: "blue", vni: 7, prefix: "10.32.0.0/16", revision: 1n });
  revision = 1n;
  /** Another one for each store that there was. */
  storeId = "store-1";
  /** As a controller names all of them. */
  controllers: string[] = [];
  /** Whether what changes is sent at once, as a controller does. */
  isPushing = true;
  /** Whether endpoints that a hello does not name are somebody else's. */
  isKeepingAll = false;
  #lastId = 0;
  #server: Server | undefined;

  constructor(directory: string, name = "controller") {
    this.address = `unix:${directory}/${name}.sock`;
  }

  async start(): Promise<void> {
    const server = createServer().use(errorDetailsServerMiddleware);
    server.add(AgentServiceDefinition, this.#agentService());
    // The agent asks for one method of this service only.
    server.add(LIST_ENDPOINTS, { listEndpoints: () => this.#listEndpoints() });
    await rm(this.address.slice("unix:".length), { force: true });
    await server.listen(this.address);
    this.#server = server;
  }

  /** Goes away without a word, and keeps its state. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  /** The stream that is open now. */
  get stream(): FakeStream | undefined {
    return this.streams.findLast((stream) => !stream.isOver);
  }

  /** As somebody else would delete it. */
  remove(network: string, name: string): void {
    const key = `${network}/${name}`;
    if (!this.endpoints.delete(key)) return;
    this.revision += 1n;
    if (!this.isPushing) return;
    const removed = [{ kind: ResourceKind.RESOURCE_KIND_ENDPOINT, name: key }];
    if (this.endpoints.size === 0) removed.push({ kind: ResourceKind.RESOURCE_KIND_NETWORK, name: network });
    this.stream?.send({ revision: this.revision, removed });
  }

  #agentService(): AgentServiceImplementation {
    return {
      report: (requests: AsyncIterable<ReportRequest>, context: CallContext) => this.#report(requests, context),
      renewCertificate: async () => ({}),
      registerNode: async ({ node }) => {
        await this.faults.pass("registerNode");
        this.registered.push(Node.fromPartial(node ?? {}));
        return { node };
      },
      createEndpoint: async (request) => {
        this.creations.push(request);
        await this.faults.pass("createEndpoint");
        const endpoint = this.#create(request);
        await this.faults.pass("afterCreate");
        return { endpoint, knownToPeers: true };
      },
      deleteEndpoint: async (request) => {
        await this.faults.pass("deleteEndpoint");
        this.deletions.push(request);
        const held = this.endpoints.get(`${request.network}/${request.name}`);
        if (held && (request.id === 0 || request.id === held.id)) this.remove(request.network, request.name);
        return {};
      },
      sync: (requests: AsyncIterable<SyncRequest>, context: CallContext) => this.#sync(requests, context),
    };
  }

  #create({ endpoint: wanted }: CreateEndpointRequest): Endpoint {
    if (!wanted || wanted.network !== this.network.name) throw new ServerError(Status.NOT_FOUND, "no such network");
    const key = `${wanted.network}/${wanted.name}`;
    if (this.endpoints.has(key)) throw new ServerError(Status.ALREADY_EXISTS, `${key} exists already`);
    this.revision += 1n;
    this.#lastId += 1;
    const endpoint: Endpoint = {
      ...wanted,
      vni: this.network.vni,
      id: this.#lastId,
      address: wanted.address || `10.32.0.${this.#lastId + 1}`,
      createTime: undefined,
      revision: this.revision,
    };
    this.endpoints.set(key, endpoint);
    if (this.isPushing) {
      this.stream?.send({ revision: this.revision, networks: [this.network], endpoints: [endpoint] });
    }
    return endpoint;
  }

  async #listEndpoints(): Promise<ListEndpointsResponse> {
    await this.faults.pass("listEndpoints");
    return ListEndpointsResponse.fromPartial({ endpoints: [...this.endpoints.values()] });
  }

  async *#report(requests: AsyncIterable<ReportRequest>, { signal }: CallContext) {
    await this.faults.pass("report");
    const commands = new PushQueue<ReportResponse>();
    this.commands = commands;
    const end = () => commands.end();
    signal.addEventListener("abort", end);
    const received: ReportRequest[] = [];
    this.reports.push(received);
    const reading = (async () => {
      for await (const request of requests) received.push(request);
    })();
    reading.catch(() => undefined).finally(end);
    yield* commands;
  }

  async *#sync(requests: AsyncIterable<SyncRequest>, { signal }: CallContext) {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done || first.value.kind?.$case !== "hello") throw new ServerError(Status.INVALID_ARGUMENT, "no hello");
    const stream = new FakeStream(first.value.kind.value);
    this.streams.push(stream);
    this.#dropStale(stream.hello);
    if (this.isPushing) stream.send(this.#difference(stream.hello));
    const end = () => stream.end();
    signal.addEventListener("abort", end);
    void readAcks(stream, iterator);
    try {
      yield* stream.responses();
    } finally {
      stream.isOver = true;
    }
  }

  #dropStale({ attached }: SyncHello): void {
    const kept = new Set(attached.map(({ network, name, id }) => `${network}/${name}/${id}`));
    for (const [key, { id }] of this.isKeepingAll ? [] : this.endpoints) {
      if (kept.has(`${key}/${id}`) || kept.has(`${key}/0`)) continue;
      this.endpoints.delete(key);
      this.revision += 1n;
    }
  }

  #difference({ known: said, storeId }: SyncHello): Parameters<typeof SyncResponse.fromPartial>[0] {
    const known = storeId === this.storeId ? said : [];
    const isKnown = (name: string, revision: bigint) => known.some((k) => k.name === name && k.revision === revision);
    const kind = ResourceKind.RESOURCE_KIND_ENDPOINT;
    return {
      storeId: this.storeId,
      controllers: this.controllers,
      revision: this.revision,
      nodes: this.registered.slice(-1).filter(({ name, revision }) => !isKnown(name, revision)),
      networks: this.endpoints.size > 0 && !isKnown("blue", this.network.revision) ? [this.network] : [],
      endpoints: [...this.endpoints].filter(([key, { revision }]) => !isKnown(key, revision)).map(([, one]) => one),
      removed: known
        .filter((one) => one.kind === kind && !this.endpoints.has(one.name))
        .map(({ name }) => ({ kind, name })),
    };
  }
}

const LIST_ENDPOINTS = {
  name: "ClusterService",
  fullName: "slimfast.v1.ClusterService",
  methods: { listEndpoints: ClusterServiceDefinition.methods.listEndpoints },
} as const;

async function readAcks(stream: FakeStream, requests: AsyncIterator<SyncRequest>): Promise<void> {
  try {
    for (let item = await requests.next(); !item.done; item = await requests.next()) {
      if (item.value.kind?.$case === "ack") stream.acks.push(item.value.kind.value);
    }
  } catch {
    // The agent has gone.
  }
  stream.end();
}
