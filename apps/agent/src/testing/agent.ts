/** An agent with a fake core and a fake controller, and a client of it, for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AgentClient, connectAgent } from "@slimfast/client";
import type { CoreConfig } from "@slimfast/core";
import { AttachEndpointRequest } from "@slimfast/proto";
import { pino } from "pino";
import { type Agent, type AgentOptions, startAgent } from "../agent.js";
import type { Limits } from "../limits.js";
import { FakeController } from "./fake-controller.js";
import { FakeCore } from "./fake-core.js";

/** Short pauses, and time-outs that only a hanging test reaches. */
export const TEST_LIMITS: Readonly<Limits> = {
  startupTimeoutMs: 30_000,
  adoptedStartMs: 30_000,
  reconnectMinMs: 5,
  reconnectMaxMs: 20,
  streamHealthyMs: 60_000,
  createEndpointTimeoutMs: 30_000,
  deleteEndpointTimeoutMs: 10_000,
  endpointSyncTimeoutMs: 30_000,
  refusalFlushMs: 10_000,
  refusedRetryMinMs: 5,
  refusedRetryMaxMs: 20,
  deletionRetryMinMs: 5,
  deletionRetryMaxMs: 20,
  ephemeralJoinMs: 60_000,
  watcherBufferEvents: 8,
  watcherBatchEvents: 4,
  reportBufferEvents: 8,
  reportBatchEvents: 4,
  reportIntervalMs: 5,
  reportCountersMs: 20,
  reportValuesMs: 20,
  messageConnections: 4,
  shutdownTimeoutMs: 4_500,
};

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** The parts around an agent; the agent itself is started by a call, so that tests can prepare its failure. */
export class TestBed {
  readonly directory: string;
  readonly core = new FakeCore();
  readonly controller: FakeController;
  readonly log: LogLine[] = [];
  readonly #agents: Agent[] = [];
  readonly #clients: AgentClient[] = [];

  private constructor(directory: string) {
    this.directory = directory;
    this.controller = new FakeController(directory);
  }

  /** @param isControllerUp - whether the controller answers from the beginning */
  static async create(isControllerUp = true): Promise<TestBed> {
    const bed = new TestBed(await mkdtemp(join(tmpdir(), "slimfast-agent-test-")));
    if (isControllerUp) await bed.controller.start();
    return bed;
  }

  get socket(): string {
    return join(this.directory, "agent.sock");
  }

  get config(): CoreConfig {
    return {
      nodeName: "node-1",
      underlayAddress: "10.200.0.1",
      frontPortFirst: 7000,
      frontPortCount: 16,
      cgroup: "slimfast/node-1",
      runDir: this.directory,
      keeperPath: "/usr/libexec/slimfast-keeper",
      vxlanPort: 4789,
      endpointLimits: { sockets: null, listeners: null, connectsPerSecond: null },
    };
  }

  async startAgent(limits: Partial<Limits> = {}, options: Partial<AgentOptions> = {}): Promise<Agent> {
    const agent = await startAgent({
      config: this.config,
      controllerAddresses: [this.controller.address],
      version: "1.2.3",
      log: pino({ level: "trace" }, { write: (line: string) => this.log.push(JSON.parse(line) as LogLine) }),
      openCore: async () => this.core,
      limits: { ...TEST_LIMITS, ...limits },
      ...options,
    });
    this.#agents.push(agent);
    return agent;
  }

  connect(): AgentClient {
    const client = connectAgent({ address: `unix:${this.socket}` });
    this.#clients.push(client);
    return client;
  }

  async remove(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const agent of this.#agents) await agent.close().catch(() => undefined);
    this.controller.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A request to attach `blue/NAME`. */
export function attachment(name: string, more: Partial<AttachEndpointRequest> = {}): AttachEndpointRequest {
  return { ...AttachEndpointRequest.fromPartial({ name, network: "blue" }), ...more };
}
