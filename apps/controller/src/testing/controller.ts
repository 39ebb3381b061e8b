/** A controller in this process on a real unix socket, and a client of it, for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AgentServiceClient,
  AgentServiceDefinition,
  type ClusterServiceClient,
  ClusterServiceDefinition,
} from "@slimfast/proto";
import { type Channel, createChannel, createClientFactory, type Status } from "nice-grpc";
import { errorDetailsClientMiddleware, RichClientError } from "nice-grpc-error-details";
import { pino } from "pino";
import { type Controller, startController } from "../controller.js";

export interface TestClient {
  readonly channel: Channel;
  readonly cluster: ClusterServiceClient;
  readonly agent: AgentServiceClient;
}

export function connect(listen: string): TestClient {
  const channel = createChannel(listen.replace(/^unix:/, "unix://"), undefined, { "grpc.enable_http_proxy": 0 });
  const factory = createClientFactory().use(errorDetailsClientMiddleware);
  return {
    channel,
    cluster: factory.create(ClusterServiceDefinition, channel),
    agent: factory.create(AgentServiceDefinition, channel),
  };
}

/** A line of the controller's log. */
export interface LogLine {
  readonly msg: string;
  readonly [key: string]: unknown;
}

export class TestController {
  readonly directory: string;
  readonly client: TestClient;
  readonly log: readonly LogLine[];
  readonly #controller: Controller;

  private constructor(directory: string, controller: Controller, client: TestClient, log: readonly LogLine[]) {
    this.directory = directory;
    this.#controller = controller;
    this.client = client;
    this.log = log;
  }

  /**
   * @param directory Of a controller that was stopped; by default a fresh one.
   * @param store As on the command line; by default in the directory.
   */
  static async start(directory?: string, store?: string): Promise<TestController> {
    const own = directory ?? (await mkdtemp(join(tmpdir(), "slimfast-controller-test-")));
    const lines: LogLine[] = [];
    const log = pino({ level: "trace" }, { write: (line: string) => lines.push(JSON.parse(line) as LogLine) });
    const listen = `unix:${own}/controller.sock`;
    const controller = await startController({
      listen,
      stateDirectory: join(own, "state"),
      log,
      ...(store !== undefined && { store }),
    });
    return new TestController(own, controller, connect(listen), lines);
  }

  get listen(): string {
    return this.#controller.listen;
  }

  metrics(): ReturnType<Controller["metrics"]> {
    return this.#controller.metrics();
  }

  /** Stops it and keeps its state. */
  async stop(): Promise<void> {
    this.client.channel.close();
    await this.#controller.close();
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What a failed call said, in a form that can be compared. */
export interface Refusal {
  readonly code: Status;
  readonly message: string;
  readonly fields: readonly string[];
  readonly resource?: { readonly type: string; readonly name: string; readonly owner: string };
  readonly precondition?: { readonly type: string; readonly subject: string };
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The refusal of a call that must fail. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RichClientError)) {
    throw new Error(`the call should have failed with details, not ${error}`, { cause: error });
  }
  let result: Refusal = { code: error.code, message: error.details, fields: [] };
  for (const detail of error.extra) {
    if (detail.$type === "google.rpc.BadRequest") {
      result = { ...result, fields: detail.fieldViolations.map(({ field }) => field) };
    } else if (detail.$type === "google.rpc.ResourceInfo") {
      const { resourceType: type, resourceName: name, owner } = detail;
      result = { ...result, resource: { type, name, owner } };
    } else if (detail.$type === "google.rpc.PreconditionFailure") {
      const [{ type, subject } = { type: "", subject: "" }] = detail.violations;
      result = { ...result, precondition: { type, subject } };
    } else if (detail.$type === "google.rpc.ErrorInfo") {
      result = { ...result, reason: detail.reason, metadata: detail.metadata };
    }
  }
  return result;
}

/** Registers node-N with underlay address 10.200.0.N. */
export async function registerNode(client: TestClient, number: number): Promise<string> {
  const name = `node-${number}`;
  await client.agent.registerNode({
    node: { name, underlayAddress: `10.200.0.${number}`, frontPorts: { first: 7_100, count: 16 } },
  });
  return name;
}
