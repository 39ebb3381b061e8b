/**
 * What an agent would report, made by a test: agents pass over connections beyond 1,000 in a second, and the console has to
 * bear more. Controller, bridge and browser are the real ones.
 */
import { join } from "node:path";
import { type ControllerClient, connectController } from "@slimfast/client";
import { type ConnectionEvent, ConnectionEventKind, Direction, ReportRequest, Tier } from "@slimfast/proto";
import type { Cluster } from "../fixture/cluster.js";

const ENDPOINTS = 40;

export class Reporter {
  readonly node: string;
  readonly #controller: ControllerClient;
  #sequence = 0;
  #wake: (() => void) | undefined;
  readonly #requests: ReportRequest[] = [];
  readonly #end = new AbortController();
  readonly #ended: Promise<void>;

  private constructor(controller: ControllerClient, node: string) {
    this.#controller = controller;
    this.node = node;
    this.#requests.push(ReportRequest.fromPartial({ node, snapshot: { connections: [] } }));
    this.#ended = this.#run().catch((error: unknown) => {
      if (!this.#end.signal.aborted) throw error;
    });
  }

  /** Registers a node of this name, which reports what it is told to. */
  static async of({ runDir }: Cluster, node: string): Promise<Reporter> {
    const controller = connectController({ address: `unix:${join(runDir, "controller.sock")}` });
    const frontPorts = { first: 7_000, count: 16 };
    await controller.agent.registerNode({ node: { name: node, underlayAddress: "192.0.2.1", frontPorts } });
    return new Reporter(controller, node);
  }

  async #run(): Promise<void> {
    const requests = this.#requests;
    const self = this;
    async function* sent() {
      for (;;) {
        while (requests.length > 0) yield requests.shift() as ReportRequest;
        await new Promise<void>((resolve) => {
          self.#wake = resolve;
        });
      }
    }
    for await (const _ of this.#controller.agent.report(sent(), { signal: this.#end.signal }));
  }

  /** Requests that the controller has not taken yet. */
  get waiting(): number {
    return this.#requests.length;
  }

  /** Events that were made so far; each is one of port 1,024 and on, in this order. */
  get reported(): number {
    return this.#sequence;
  }

  /** @param dropped Events that it says it had to drop. */
  report(count: number, { endpoint, dropped = 0 }: { endpoint?: string; dropped?: number } = {}): void {
    const events = Array.from({ length: count }, () => this.#event(endpoint));
    this.#requests.push(ReportRequest.fromPartial({ events, dropped: BigInt(dropped) }));
    this.#wake?.();
  }

  /** One that was refused: each is a row of its own. */
  #event(endpoint: string | undefined): ConnectionEvent {
    this.#sequence += 1;
    const number = this.#sequence;
    return {
      kind: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED,
      time: new Date(),
      error: "ECONNREFUSED",
      connection: {
        ...ReportRequest.fromPartial({ updates: [{}] }).updates[0],
        cookie: BigInt(number),
        network: "default",
        endpoint: endpoint ?? `load-${number % ENDPOINTS}`,
        peerEndpoint: `service-${number % 7}`,
        direction: Direction.DIRECTION_OUTBOUND,
        tier: number % 3 === 0 ? Tier.TIER_NOTIFY : Tier.TIER_PRELOAD,
        local: { address: "10.32.1.1", port: 1_024 + (number % 60_000) },
        peer: { address: "10.32.2.1", port: 80 + (number % 5) },
        setupUs: 40 + (number % 100),
      } as ConnectionEvent["connection"],
    };
  }

  /** Ends the reports, and takes the node out of the cluster. */
  async close(): Promise<void> {
    this.#end.abort();
    await this.#ended;
    await this.#controller.cluster.deleteNode({ name: this.node });
    this.#controller.close();
  }
}
