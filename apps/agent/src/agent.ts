/**
 * One node's agent: puts the core, the link to the controller, the endpoints and the local service together, and takes
 * them apart in the reverse order. A start that fails leaves nothing behind.
 */
import { existsSync } from "node:fs";
import { chmod, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Core, CoreConfig, EventBatch } from "@slimfast/core";
import { LocalServiceDefinition, Node } from "@slimfast/proto";
import { tracingServerMiddleware } from "@slimfast/telemetry";
import { createServer, type Server } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { HealthDefinition, HealthServiceImpl } from "nice-grpc-server-health";
import type { Logger } from "pino";
import { callLogMiddleware } from "./call-log.js";
import { ClusterState } from "./cluster-state.js";
import { ControllerLink } from "./controller-link.js";
import { Controllers } from "./controllers.js";
import { Converter, type CoreConnectionEvent } from "./convert.js";
import { errorMiddleware } from "./edge.js";
import { Endpoints } from "./endpoints.js";
import { messageOf } from "./errors.js";
import { EventFanout } from "./event-fanout.js";
import type { NodeIdentity } from "./identity/node-identity.js";
import { DEFAULT_LIMITS, type Limits } from "./limits.js";
import { localService } from "./local-service.js";
import { AgentMetrics } from "./metrics/agent-metrics.js";
import { type MetricsServer, serveMetrics } from "./metrics/metrics-server.js";
import { PolicyEnforcement } from "./policy/enforcement.js";
import { Reporter } from "./report.js";

export interface AgentOptions {
  config: CoreConfig;
  /** Where the controllers listen, at least one: `unix:/path` or `host:port`. */
  controllerAddresses: readonly string[];
  /** Who the node is to them, over TLS; closed with the agent. Default: connections are not encrypted. */
  identity?: NodeIdentity | undefined;
  version: string;
  log: Logger;
  /** Opens the core; tests give a fake one. */
  openCore: (config: CoreConfig) => Promise<Core>;
  /** Ends a start that is under way: it fails with the signal's reason. Without meaning afterwards. */
  signal?: AbortSignal;
  limits?: Limits;
  /** `HOST:PORT` on a loopback address where Prometheus may scrape; port 0: any. Default: nowhere. */
  metricsAddress?: string;
}

export interface Agent {
  /** Path of the socket on which LocalService is served. */
  readonly socket: string;
  readonly seccompSocket: string;
  /** Where metrics are served, with the real port; undefined if nowhere. */
  readonly metricsAddress: string | undefined;
  /**
   * Detaches everything and restores the host. May be called twice.
   *
   * @throws the first failure, when everything that could be taken down is; the journal has what is left.
   */
  close(): Promise<void>;
  /** Ends this agent and leaves the node running: the next agent takes it over. */
  leave(): Promise<void>;
}

/** What becomes of the node when its agent ends. */
type Ending = "close" | "leave";

/** Taken apart in reverse order of being put together; goes on past failures. */
class Teardown {
  readonly #steps: { what: string; undo: (ending: Ending) => Promise<void> | void }[] = [];
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  add(what: string, undo: (ending: Ending) => Promise<void> | void): void {
    this.#steps.push({ what, undo });
  }

  /** @returns the first failure */
  async run(ending: Ending): Promise<{ failure: unknown } | undefined> {
    let first: { failure: unknown } | undefined;
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.undo(ending);
      } catch (error) {
        this.#log.error({ what: step.what, reason: messageOf(error) }, "cannot take down");
        first ??= { failure: error };
      }
    }
    return first;
  }
}

/** @throws CoreError, SlimFastError or the system's error; everything is as before then. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const teardown = new Teardown(options.log);
  let isAdopted = false;
  const openCore = async (config: CoreConfig) => {
    const core = await options.openCore(config);
    isAdopted = core.isAdopted();
    return core;
  };
  try {
    return await putTogether({ ...options, openCore }, teardown);
  } catch (error) {
    await teardown.run(isAdopted ? "leave" : "close");
    throw options.signal?.aborted ? options.signal.reason : error;
  }
}

async function putTogether(options: AgentOptions, teardown: Teardown): Promise<Agent> {
  const { config, log } = options;
  const limits = options.limits ?? DEFAULT_LIMITS;
  if (!existsSync(config.runDir)) teardown.add("the run directory", () => removeIfEmpty(config.runDir));
  const core = await options.openCore(config);
  teardown.add("the core", (ending) => (ending === "close" ? core.close() : core.leave()));

  const { identity } = options;
  const controller = new Controllers(options.controllerAddresses, identity ? { tls: () => identity.tls() } : {});
  teardown.add("the connection to the controller", () => controller.close());

  const node = nodeOf(config);
  const state = new ClusterState(core.policyNotes().map(({ vni }) => vni));
  const convert = new Converter(node.name, state);
  const events = new EventFanout(limits);
  const onRefused = () => identity?.noteRefusal();
  const { link, endpoints } = connectParts({ controller, core, state, node, limits, log, onRefused });
  const reporter = new Reporter({ controller, core, convert, endpoints, node: node.name, limits, log });
  const { metricsAddress, version } = options;
  // Counts every event: only for somebody who reads it.
  const metrics = metricsAddress === undefined ? undefined : new AgentMetrics({ core, link, endpoints, version });
  for (const key of await endpoints.adopt()) {
    log.error(key, "an endpoint of another version's agent cannot be taken over: it is detached");
    await core.detachEndpoint(key);
  }
  // What has happened since the core was opened waits for that: it may be about an endpoint that was adopted.
  core.onEvents((batch) => {
    metrics?.note(batch);
    deliver(batch, { endpoints, events, reporter, convert, log, onKeeperEnded: () => void replaceKeeper(core, log) });
  });
  const { signal } = options;
  signal?.throwIfAborted();
  const onAbort = () => void link.stop();
  signal?.addEventListener("abort", onAbort);
  teardown.add("the link to the controller", () => link.stop());
  try {
    await (core.isAdopted() ? link.resume() : link.start());
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
  if (identity) {
    teardown.add("the node's identity", () => identity.close());
    identity.start(controller.renewing, () => {
      controller.reconnect();
      link.reconnect();
    });
  }
  teardown.add("the report to the controller", () => reporter.stop());
  reporter.start();
  teardown.add("the endpoints", (ending) => (ending === "close" ? endpoints.close() : endpoints.leave()));

  const socket = join(config.runDir, "agent.sock");
  const server = createServer()
    .use(tracingServerMiddleware)
    .use(errorDetailsServerMiddleware)
    .use(callLogMiddleware(log))
    .use(errorMiddleware(log));
  server.add(
    LocalServiceDefinition,
    localService({ core, link, controller, endpoints, events, convert, node, limits, version: options.version }),
  );
  server.add(HealthDefinition, HealthServiceImpl());
  teardown.add("the local service", () => stopServer(server, socket));
  // The core's journal keeps a second agent out of the directory, so a socket in it is a crashed run's.
  await rm(socket, { force: true });
  await server.listen(`unix:${socket}`);
  await chmod(socket, 0o600);

  let metricsServer: MetricsServer | undefined;
  if (metricsAddress !== undefined && metrics) {
    metricsServer = await serveMetrics(metricsAddress, metrics.registry);
    teardown.add("the metrics", () => metricsServer?.close());
  }

  const seccompSocket = core.seccompSocket();
  let closing: ReturnType<Teardown["run"]> | undefined;
  const end = async (ending: Ending) => {
    closing ??= teardown.run(ending);
    const left = await closing;
    if (left) throw left.failure;
  };
  return {
    socket,
    seccompSocket,
    metricsAddress: metricsServer?.address,
    close: () => end("close"),
    leave: () => end("leave"),
  };
}

/** The link names the endpoints in its hello, and attaching waits for the link. */
function connectParts(parts: {
  controller: Controllers;
  core: Core;
  state: ClusterState;
  node: Node;
  limits: Limits;
  log: Logger;
  onRefused: () => void;
}): { link: ControllerLink; endpoints: Endpoints } {
  const link: ControllerLink = new ControllerLink({
    ...parts,
    policies: new PolicyEnforcement({ ...parts, node: parts.node.name }),
    attached: () => endpoints.refs(),
    onFirstState: () => endpoints.compare((network, name) => parts.state.endpoint(network, name)),
    onRemoved: (keys) => endpoints.onRemoved(keys),
  });
  const endpoints = new Endpoints({ ...parts, link });
  return { link, endpoints };
}

function deliver(
  { events, dropped }: EventBatch,
  to: {
    endpoints: Endpoints;
    events: EventFanout;
    reporter: Reporter;
    convert: Converter;
    log: Logger;
    onKeeperEnded: () => void;
  },
): void {
  to.endpoints.onDropped(dropped);
  const about: CoreConnectionEvent[] = [];
  for (const event of events) {
    if (event.kind === "idle") to.endpoints.onIdle(event.vni, event.endpointId);
    else if (event.kind === "keeperEnded") to.onKeeperEnded();
    else if (event.kind === "admissionRefused") to.log.warn({ reason: event.reason }, "a container was refused");
    else if (event.kind === "unguarded") {
      const { vni, endpointId, reason } = event;
      to.log.warn({ vni, endpointId, reason }, "a container was let in that may use io_uring");
      to.reporter.noteUnguarded();
    } else about.push(event);
  }
  const isWanted = to.events.isWatched || to.reporter.isReporting;
  const converted = isWanted ? about.map((event) => to.convert.event(event)) : [];
  to.events.publish(converted, dropped);
  to.reporter.publish(converted, dropped);
}

/** Only somebody who killed it, or the kernel when it was short of memory, ends a keeper. */
async function replaceKeeper(core: Core, log: Logger): Promise<void> {
  try {
    const endpoints = await core.replaceKeeper();
    if (endpoints === 0) {
      log.warn("the keeper has ended, and another one goes on with all that it had");
      return;
    }
    const consequence =
      "programs that run in these endpoints can create no more TCP sockets (ENOSYS): start them again";
    log.error({ endpoints }, `the keeper has ended, and another one was started; ${consequence}`);
  } catch (error) {
    const remedy = "no container can start on this node: start the agent with --fresh";
    log.error({ reason: messageOf(error) }, `the keeper has ended, and no other one can be started; ${remedy}`);
  }
}

function nodeOf(config: CoreConfig): Node {
  return Node.fromPartial({
    name: config.nodeName,
    underlayAddress: config.underlayAddress,
    frontPorts: { first: config.frontPortFirst, count: config.frontPortCount },
    connected: false,
    createTime: undefined,
    revision: 0n,
  });
}

/** Watches of events never end by themselves. */
async function stopServer(server: Server, socket: string): Promise<void> {
  server.forceShutdown();
  await rm(socket, { force: true });
}

/** What somebody else keeps there, or a journal of what could not be undone, keeps the directory. */
async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}
