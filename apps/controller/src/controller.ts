/** A controller as a whole: store, hub, services and server, started in this order and stopped in the opposite one. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { ClusterServiceDefinition, OperationsServiceDefinition } from "@slimfast/proto";
import { tracingServerMiddleware } from "@slimfast/telemetry";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { type Logger, pino } from "pino";
import { type Connections, openConnections } from "./connections/connections.js";
import { StorePeers } from "./connections/store-peers.js";
import { directStreams } from "./direct-stream.js";
import { StartupError } from "./errors.js";
import { type GrpcServers, openGrpcServers } from "./grpc-servers.js";
import { CONTROLLER_VERSION } from "./installation.js";
import { formatListenAddress, parseListenAddress, reachableAddresses, serverNames } from "./listen.js";
import { callMiddleware } from "./metrics/call-middleware.js";
import { ControllerMetrics, type Scrape } from "./metrics/controller-metrics.js";
import { Propagation } from "./metrics/propagation.js";
import { storeResources } from "./metrics/resources.js";
import { timeTransactions } from "./metrics/transactions.js";
import { actorOfCall } from "./security/access-middleware.js";
import { openSecurity, type Security } from "./security/security.js";
import { agentService } from "./services/agent-service.js";
import { Cluster } from "./services/cluster.js";
import { clusterService } from "./services/cluster-service.js";
import { errorMiddleware } from "./services/edge.js";
import { type Registry, served } from "./services/registry.js";
import { WatchHub } from "./services/watch.js";
import type { EtcdAccessOptions } from "./store/etcd/etcd-access.js";
import { openStore, parseStoreLocation } from "./store/open-store.js";
import type { Store } from "./store/store.js";
import { EncodedAgentServiceDefinition } from "./sync/encoding.js";
import { SyncHub } from "./sync/hub.js";
import { joinControllers } from "./sync/membership.js";
import { webListenAddresses } from "./web/web-address.js";
import type { WebServer } from "./web/web-server.js";

/** TLS of the TCP listeners. Without files the certificate is signed by the cluster's own authority. */
export interface ControllerTls {
  /** PEM: the server's certificate, and those that vouch for it. */
  readonly certificateFile?: string;
  /** PEM */
  readonly keyFile?: string;
}

export interface ControllerOptions {
  /** `unix:/path`, or `host:port`, which without `tls` has to be a loopback address; port 0 takes any free one. */
  readonly listen: string | readonly string[];
  readonly tls?: ControllerTls;
  /** `host:port` under which others reach it, besides what it listens on: for its certificate. */
  readonly advertise?: readonly string[];
  /** Life of the certificates that it signs. Default: 24 h. */
  readonly certificateLifetimeMs?: number;
  /** `host:port` of the console and the metrics, with TLS unless it is loopback; port 0 takes any free one. Default: no HTTP. */
  readonly http?: string;
  /** Directory of the store; created with mode 0700 if it does not exist. */
  readonly stateDirectory: string;
  /** `sqlite:DIRECTORY` or `etcd:HOST:PORT[,HOST:PORT…]`. Default: SQLite in the state directory. */
  readonly store?: string;
  /** How etcd is reached; for a store in etcd only. */
  readonly etcd?: EtcdAccessOptions;
  /** Default: nothing is logged. */
  readonly log?: Logger;
}

export interface Controller {
  /** The first address on which it listens, with the real port. */
  readonly listen: string;
  /** All of them. */
  readonly listening: readonly string[];
  /** What GET /metrics answers. */
  metrics(): Promise<Scrape>;
  /** URL of the console; undefined without the option `http`. */
  readonly http: string | undefined;
  /** Ends the Sync streams, lets other calls finish for a moment, and closes the store. May be called twice. */
  close(): Promise<void>;
}

/** What the controller serves, over gRPC and over HTTP. */
function createRegistry(
  store: Store,
  hub: SyncHub,
  watches: WatchHub,
  connections: Connections,
  metrics: ControllerMetrics,
  security: Security,
  log: Logger,
): Registry {
  const { reports, operations, networkOf } = connections;
  const cluster = new Cluster(store, hub);
  return {
    services: [
      served(ClusterServiceDefinition, clusterService({ cluster, store, presence: hub, watches })),
      served(
        EncodedAgentServiceDefinition,
        agentService({ cluster, store, hub, reports, enrollment: security.enrollment, log }),
      ),
      served(OperationsServiceDefinition, operations),
      ...security.services,
    ],
    middleware: [
      tracingServerMiddleware,
      directStreams,
      errorDetailsServerMiddleware,
      callMiddleware(metrics, log, actorOfCall),
      errorMiddleware(log),
      security.middleware(networkOf),
    ],
  };
}

interface ReadTls {
  readonly ownCertificate?: { readonly chain: string; readonly privateKey: string };
}

/** @throws StartupError `address_refused` if the files are not a certificate and its key. */
function readTls(tls: ControllerTls | undefined): ReadTls | undefined {
  if (!tls) return undefined;
  if (tls.certificateFile === undefined || tls.keyFile === undefined) return {};
  try {
    const chain = readFileSync(tls.certificateFile, "utf8");
    const privateKey = readFileSync(tls.keyFile, "utf8");
    if (!new X509Certificate(chain).checkPrivateKey(createPrivateKey(privateKey))) {
      throw new Error("the key is not that of the certificate");
    }
    return { ownCertificate: { chain, privateKey } };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const files = `${tls.certificateFile} and ${tls.keyFile}`;
    throw new StartupError("address_refused", `the certificate and key in ${files} cannot be used: ${reason}`, error);
  }
}

/**
 * Starts a controller in this process.
 *
 * @throws StartupError if the address or the state directory cannot be used; nothing is left open then.
 */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const log = options.log ?? pino({ enabled: false });
  const tls = readTls(options.tls);
  const wanted = [options.listen].flat().map((text) => parseListenAddress(text, { tls: tls !== undefined }));
  const names = serverNames([...wanted, ...webListenAddresses(options.http)], options.advertise ?? []);
  const location = parseStoreLocation(options.store ?? `sqlite:${options.stateDirectory}`);
  const plainStore = await openStore(location, options.etcd);
  const metrics = new ControllerMetrics();
  timeTransactions(plainStore, metrics.transactionSeconds);
  const security = openSecurity({
    store: plainStore,
    log,
    names,
    certificateLifetimeMs: options.certificateLifetimeMs,
    hasTls: tls !== undefined,
    ownCertificate: tls?.ownCertificate,
  });
  const { store } = security;
  const authority = await (tls ? security.authority() : undefined)?.catch(async (error: unknown) => {
    await security.close();
    await plainStore.close();
    throw error;
  });
  const propagation = new Propagation((seconds) => metrics.propagationSeconds.observe(seconds));
  store.onCommit(({ revision }) => propagation.committed(revision, performance.now()));
  const hub = new SyncHub(store, log, (revision) => propagation.acknowledged(revision, performance.now()));
  const watches = new WatchHub(store, hub);
  const peers = new StorePeers(store, (host) => authority?.peerCredentials(host));
  const connections = openConnections({ store, isConnected: (node) => hub.isConnected(node), peers, log });
  metrics.observe({
    ...connections,
    store,
    resourceCounts: () => storeResources(store),
    syncStreams: () => hub.streamCount,
    version: CONTROLLER_VERSION,
  });
  const services = createRegistry(store, hub, watches, connections, metrics, security, log);
  let servers: GrpcServers;
  let web: WebServer | undefined;
  try {
    if (options.http !== undefined) {
      const scrape = (): Promise<Scrape> => metrics.scrape();
      const webTls = authority && {
        current: () => authority.serverTls,
        onRenewed: authority.onRenewed.bind(authority),
      };
      // Loaded where it is needed, because it takes a while.
      const { startWebServer } = await import("./web/web-server.js");
      web = await startWebServer({ listen: options.http, registry: services, log, metrics: scrape, tls: webTls });
    }
    servers = await openGrpcServers(services, wanted, authority?.serverCredentials());
  } catch (error) {
    await web?.close();
    hub.close();
    watches.close();
    peers.close();
    await security.close();
    await store.close();
    throw error;
  }
  const listening = servers.addresses.map(formatListenAddress);
  const [listen = ""] = listening;
  const membership = joinControllers(store, log, {
    addresses: reachableAddresses(servers.addresses, options.advertise ?? []),
    version: CONTROLLER_VERSION,
  });
  log.info({ listen: listening.join(", "), store: location, revision: String(store.revision) }, "controller started");
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    hub.close();
    watches.close();
    connections.reports.close();
    peers.close();
    await web?.close();
    await servers.stop();
    await membership.close();
    await security.close();
    await store.close();
    log.info("controller stopped");
  };
  return {
    listen,
    listening,
    metrics: () => metrics.scrape(),
    http: web?.url,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}
