/** A controller as a whole: store, hub, services and server, started in this order and stopped in the opposite one. */
import { readFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { AgentServiceDefinition, ClusterServiceDefinition, OperationsServiceDefinition } from "@slimfast/proto";
import { tracingServerMiddleware } from "@slimfast/telemetry";
import { createServer, type Server } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { HealthDefinition, HealthServiceImpl } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { type Logger, pino } from "pino";
import { type Connections, openConnections } from "./connections/connections.js";
import { StorePeers } from "./connections/store-peers.js";
import { StartupError } from "./errors.js";
import { MAX_MESSAGE_BYTES, SHUTDOWN_GRACE_MS } from "./limits.js";
import { formatListenAddress, type ListenAddress, parseListenAddress, removeStaleSocket } from "./listen.js";
import { callMiddleware } from "./metrics/call-middleware.js";
import { ControllerMetrics, type Scrape } from "./metrics/controller-metrics.js";
import { Propagation } from "./metrics/propagation.js";
import { storeResources } from "./metrics/resources.js";
import { timeTransactions } from "./metrics/transactions.js";
import { agentService } from "./services/agent-service.js";
import { Cluster } from "./services/cluster.js";
import { clusterService } from "./services/cluster-service.js";
import { errorMiddleware } from "./services/edge.js";
import { type Registry, served } from "./services/registry.js";
import { WatchHub } from "./services/watch.js";
import { openStore, parseStoreLocation } from "./store/open-store.js";
import type { Store } from "./store/store.js";
import { SyncHub } from "./sync/hub.js";
import { joinControllers } from "./sync/membership.js";
import { startWebServer, type WebServer } from "./web/web-server.js";

export interface ControllerOptions {
  /** `unix:/path`, or `host:port` on a loopback address; port 0 takes any free one. */
  readonly listen: string;
  /** `host:port` of the console and the metrics; port 0 takes any free one. Default: no HTTP. */
  readonly http?: string;
  /** Directory of the store; created with mode 0700 if it does not exist. */
  readonly stateDirectory: string;
  /** `sqlite:DIRECTORY` or `etcd:HOST:PORT[,HOST:PORT…]`. Default: SQLite in the state directory. */
  readonly store?: string;
  /** Default: nothing is logged. */
  readonly log?: Logger;
}

export interface Controller {
  /** The address on which it listens, with the real port. */
  readonly listen: string;
  /** What GET /metrics answers. */
  metrics(): Promise<Scrape>;
  /** URL of the console; undefined without the option `http`. */
  readonly http: string | undefined;
  /** Ends the Sync streams, lets other calls finish for a moment, and closes the store. May be called twice. */
  close(): Promise<void>;
}

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // An agent that vanished without a word must not count as connected for ever.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
} as const;

async function bind(server: Server, address: ListenAddress): Promise<ListenAddress> {
  try {
    if (address.kind === "tcp") {
      const port = await server.listen(`${address.host}:${address.port}`);
      return { ...address, port };
    }
    await mkdir(dirname(address.path), { recursive: true, mode: 0o755 });
    await removeStaleSocket(address.path);
    await server.listen(`unix:${address.path}`);
    // Whoever may write to the socket may change the cluster.
    await chmod(address.path, 0o600);
    return address;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("address_in_use", `cannot listen on ${formatListenAddress(address)}: ${reason}`, error);
  }
}

/** What the controller serves, over gRPC and over HTTP. */
function createRegistry(
  store: Store,
  hub: SyncHub,
  watches: WatchHub,
  connections: Connections,
  metrics: ControllerMetrics,
  log: Logger,
): Registry {
  const { reports, operations } = connections;
  const cluster = new Cluster(store, hub);
  return {
    services: [
      served(ClusterServiceDefinition, clusterService({ cluster, store, presence: hub, watches })),
      served(AgentServiceDefinition, agentService({ cluster, store, hub, reports, log })),
      served(OperationsServiceDefinition, operations),
    ],
    middleware: [
      tracingServerMiddleware,
      errorDetailsServerMiddleware,
      callMiddleware(metrics, log, () => "local"),
      errorMiddleware(log),
    ],
  };
}

function createGrpcServer(registry: Registry): Server {
  const server = registry.middleware.reduce<Server>(
    (outer, middleware) => outer.use(middleware),
    createServer(SERVER_OPTIONS),
  );
  for (const service of registry.services) service.addTo(server);
  server.add(HealthDefinition, HealthServiceImpl());
  // So that grpcurl and the like need no .proto files.
  const descriptors = readFileSync(createRequire(import.meta.url).resolve("@slimfast/proto/descriptors.binpb"));
  server.add(
    ServerReflectionService,
    ServerReflection(
      descriptors,
      [ClusterServiceDefinition, AgentServiceDefinition, OperationsServiceDefinition].map(({ fullName }) => fullName),
    ),
  );
  return server;
}

export function controllerVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}

/** Lets running calls finish, but not for longer than the grace period. */
async function stopServer(server: Server): Promise<void> {
  const cut = setTimeout(() => server.forceShutdown(), SHUTDOWN_GRACE_MS);
  try {
    await server.shutdown();
  } finally {
    clearTimeout(cut);
  }
}

/**
 * Starts a controller in this process.
 *
 * @throws StartupError if the address or the state directory cannot be used; nothing is left open then.
 */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const log = options.log ?? pino({ enabled: false });
  const wanted = parseListenAddress(options.listen);
  const location = parseStoreLocation(options.store ?? `sqlite:${options.stateDirectory}`);
  const store = await openStore(location);
  const metrics = new ControllerMetrics();
  timeTransactions(store, metrics.transactionSeconds);
  const propagation = new Propagation((seconds) => metrics.propagationSeconds.observe(seconds));
  store.onCommit(({ revision }) => propagation.committed(revision, performance.now()));
  const hub = new SyncHub(store, log, (revision) => propagation.acknowledged(revision, performance.now()));
  const watches = new WatchHub(store, hub);
  const peers = new StorePeers(store);
  const connections = openConnections({ store, isConnected: (node) => hub.isConnected(node), peers, log });
  metrics.observe({
    ...connections,
    store,
    resourceCounts: () => storeResources(store),
    syncStreams: () => hub.streamCount,
    version: controllerVersion(),
  });
  const services = createRegistry(store, hub, watches, connections, metrics, log);
  const server = createGrpcServer(services);
  let address: ListenAddress;
  let web: WebServer | undefined;
  try {
    if (options.http !== undefined) {
      const scrape = (): Promise<Scrape> => metrics.scrape();
      web = await startWebServer({ listen: options.http, registry: services, log, metrics: scrape });
    }
    address = await bind(server, wanted);
  } catch (error) {
    await web?.close();
    server.forceShutdown();
    hub.close();
    watches.close();
    peers.close();
    await store.close();
    throw error;
  }
  const listen = formatListenAddress(address);
  const membership = joinControllers(store, log, { addresses: [listen], version: controllerVersion() });
  log.info({ listen, store: location, revision: String(store.revision) }, "controller started");
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    hub.close();
    watches.close();
    connections.reports.close();
    peers.close();
    await web?.close();
    await stopServer(server);
    await membership.close();
    await store.close();
    log.info("controller stopped");
  };
  return {
    listen,
    metrics: () => metrics.scrape(),
    http: web?.url,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}
