/** Controllers of which only the part about connections is there, on real unix sockets and knowing each other. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as proto from "@slimfast/proto";
import { type Channel, createChannel, createClientFactory, createServer, type Server } from "nice-grpc";
import { errorDetailsClientMiddleware, errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { pino } from "pino";
import type { ClusterView } from "../connections/cluster-view.js";
import { operationsService } from "../connections/operations-service.js";
import type { Peer } from "../connections/peers.js";
import { ConnectionRegistry } from "../connections/registry.js";
import { ReportHub } from "../connections/report-hub.js";
import { reportMethod } from "../connections/report-method.js";
import { errorMiddleware } from "../services/edge.js";
import { withUnimplemented } from "./unimplemented.js";

export type OperationsClient = proto.OperationsServiceClient;

export class OperationsController {
  readonly registry = new ConnectionRegistry({ maxLive: 200_000, maxRecent: 10_000 }, Date.now());
  readonly agent: proto.AgentServiceClient;
  readonly operations: OperationsClient;
  readonly peers: Peer[] = [];
  readonly log: { readonly msg: string; readonly [key: string]: unknown }[] = [];
  readonly reports: ReportHub;
  readonly #server: Server;
  readonly #channel: Channel;
  readonly #directory: string;

  private constructor(directory: string, view: ClusterView) {
    this.#directory = directory;
    const log = pino({ level: "debug" }, { write: (line: string) => this.log.push(JSON.parse(line)) });
    const { registry } = this;
    this.reports = new ReportHub(registry, log);
    const { reports } = this;
    const isNode = (name: string) => view.nodes().some((node) => node.name === name);
    this.#server = createServer().use(errorDetailsServerMiddleware).use(errorMiddleware(log));
    const agent = withUnimplemented<proto.AgentServiceImplementation>(proto.AgentServiceDefinition, {
      report: reportMethod(reports, { isNode, noteUnguarded: () => Promise.resolve() }),
    });
    this.#server.add(proto.AgentServiceDefinition, agent);
    const peers = { list: () => this.peers };
    const parts = { registry, reports, view, peers, startedMs: Date.now(), tailDrops: { count: 0 }, log };
    this.#server.add(proto.OperationsServiceDefinition, operationsService(parts));
    this.#channel = createChannel(`unix://${directory}/controller.sock`);
    this.agent = createClientFactory()
      .use(errorDetailsClientMiddleware)
      .create(proto.AgentServiceDefinition, this.#channel);
    this.operations = createClientFactory()
      .use(errorDetailsClientMiddleware)
      .create(proto.OperationsServiceDefinition, this.#channel);
  }

  get listen(): string {
    return `unix:${this.#directory}/controller.sock`;
  }

  static async start(view: ClusterView): Promise<OperationsController> {
    const directory = await mkdtemp(join(tmpdir(), "slimfast-operations-test-"));
    const controller = new OperationsController(directory, view);
    await controller.#server.listen(`unix:${directory}/controller.sock`);
    return controller;
  }

  async close(): Promise<void> {
    this.#channel.close();
    this.reports.close();
    this.#server.forceShutdown();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Makes controllers know each other. */
export function introduce(...controllers: OperationsController[]): void {
  for (const [index, controller] of controllers.entries()) {
    for (const [number, other] of controllers.entries()) {
      if (number !== index) controller.peers.push({ name: `controller-${number + 1}`, operations: other.operations });
    }
  }
}

export async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`after 30 s still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
