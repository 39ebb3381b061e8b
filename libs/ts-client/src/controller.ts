/** The client of a controller. */
import {
  type AgentServiceClient,
  AgentServiceDefinition,
  type ClusterServiceClient,
  ClusterServiceDefinition,
  type Endpoint,
  type Network,
  type Node,
  type PortReservation,
} from "@slimfast/proto";
import { type CallDeadline, Connection } from "./connection.js";
import type { ConnectOptions } from "./options.js";
import { eachItem } from "./paging.js";

/** Options of the `listAll…` methods. */
export interface ListOptions {
  /** Items fetched with one call, 1 to 1000. Default 100. */
  readonly pageSize?: number;
  /** Ends the iteration with a `cancelled` error. */
  readonly signal?: AbortSignal;
}

export interface ListEndpointsOptions extends ListOptions {
  /** Only endpoints of this network. Default: of all. */
  readonly network?: string;
  /** Only endpoints on this node. Default: on all. */
  readonly node?: string;
}

export interface ListPortReservationsOptions extends ListOptions {
  /** Only reservations of this node. Default: of all. */
  readonly node?: string;
}

/** An open connection to a controller. Calls throw SlimFastError and nothing else. */
export interface ControllerClient {
  /** What people and orchestrators ask. */
  readonly cluster: ClusterServiceClient<CallDeadline>;
  /** What agents ask. */
  readonly agent: AgentServiceClient<CallDeadline>;
  listAllNetworks(options?: ListOptions): AsyncGenerator<Network>;
  listAllNodes(options?: ListOptions): AsyncGenerator<Node>;
  listAllEndpoints(options?: ListEndpointsOptions): AsyncGenerator<Endpoint>;
  listAllPortReservations(options?: ListPortReservationsOptions): AsyncGenerator<PortReservation>;
  /** Resolves once the server accepts a connection; `unavailable` after `timeoutMs`. No call needs it. */
  ready(timeoutMs: number): Promise<void>;
  /** Ends running calls (`cancelled`) and refuses later ones (`failed_precondition`). May be called twice. */
  close(): void;
}

/**
 * Connects to a controller. Returns at once; the connection is made by the first call, and again after it was lost.
 *
 * @throws SlimFastError `invalid_argument` if the address is malformed.
 */
export function connectController(options: ConnectOptions): ControllerClient {
  const connection = new Connection(options);
  const { factory, channel } = connection;
  const cluster: ClusterServiceClient<CallDeadline> = factory.create(ClusterServiceDefinition, channel);
  const agent: AgentServiceClient<CallDeadline> = factory.create(AgentServiceDefinition, channel);
  const callOptions = (list: ListOptions) => (list.signal ? { signal: list.signal } : {});
  return {
    cluster,
    agent,
    listAllNetworks: (list = {}) =>
      eachItem(async (pageToken) => {
        const page = await cluster.listNetworks({ pageSize: list.pageSize ?? 0, pageToken }, callOptions(list));
        return { items: page.networks, nextPageToken: page.nextPageToken };
      }),
    listAllNodes: (list = {}) =>
      eachItem(async (pageToken) => {
        const page = await cluster.listNodes({ pageSize: list.pageSize ?? 0, pageToken }, callOptions(list));
        return { items: page.nodes, nextPageToken: page.nextPageToken };
      }),
    listAllEndpoints: (list = {}) =>
      eachItem(async (pageToken) => {
        const { pageSize = 0, network = "", node = "" } = list;
        const page = await cluster.listEndpoints({ pageSize, pageToken, network, node }, callOptions(list));
        return { items: page.endpoints, nextPageToken: page.nextPageToken };
      }),
    listAllPortReservations: (list = {}) =>
      eachItem(async (pageToken) => {
        const { pageSize = 0, node = "" } = list;
        const page = await cluster.listPortReservations({ pageSize, pageToken, node }, callOptions(list));
        return { items: page.portReservations, nextPageToken: page.nextPageToken };
      }),
    ready: (timeoutMs) => connection.ready(timeoutMs),
    close: () => connection.close(),
  };
}
