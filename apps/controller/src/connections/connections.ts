/** What the controller knows about connections, put together: registry, Report streams, OperationsService. */
import type { OperationsServiceImplementation } from "@slimfast/proto";
import type { Logger } from "pino";
import type { StoreReader } from "../store/store.js";
import { storeView } from "./cluster-view.js";
import { MAX_LIVE_CONNECTIONS, MAX_RECENT_CONNECTIONS } from "./limits.js";
import { networkOfConnection } from "./network-of-connection.js";
import { operationsService } from "./operations-service.js";
import type { Peers } from "./peers.js";
import { ConnectionRegistry } from "./registry.js";
import { ReportHub } from "./report-hub.js";

export interface Connections {
  readonly registry: ConnectionRegistry;
  readonly reports: ReportHub;
  /** Events that tails have dropped since the controller started. */
  readonly tailDrops: { readonly count: number };
  readonly operations: OperationsServiceImplementation;
  /** The network of a live connection, by the id of its record. */
  networkOf(id: string): Promise<string | undefined>;
}

export function openConnections(parts: {
  readonly store: StoreReader;
  readonly isConnected: (node: string) => boolean;
  readonly peers: Peers;
  readonly log: Logger;
}): Connections {
  const { store, isConnected, peers, log } = parts;
  const startedMs = Date.now();
  const bounds = { maxLive: MAX_LIVE_CONNECTIONS, maxRecent: MAX_RECENT_CONNECTIONS };
  const registry = new ConnectionRegistry(bounds, startedMs);
  const reports = new ReportHub(registry, log);
  const tailDrops = { count: 0 };
  const view = storeView(store, isConnected);
  const operations = operationsService({ registry, reports, view, peers, startedMs, tailDrops, log });
  const networkOf = (id: string) => networkOfConnection({ registry, peers, log }, id);
  return { registry, reports, tailDrops, operations, networkOf };
}
