/**
 * What a client of a controller offers, whatever transport its services go over: `connectController` of the package and
 * of `@slimfast/client/web` both give one.
 */
import type {
  AccessServiceClient,
  AgentServiceClient,
  AuditEntry,
  ClusterServiceClient,
  ConnectionRecord,
  Endpoint,
  EnrollmentServiceClient,
  Network,
  Node,
  OperationsServiceClient,
  Policy,
  PortReservation,
  Token,
} from "@slimfast/proto";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { DEFAULT_RETRY, type RetryOptions } from "./options.js";
import { eachItem } from "./paging.js";
import {
  type AuditTailItem,
  type ConnectionTailItem,
  type TailOptions,
  tailAuditEntries,
  tailConnections,
} from "./tail.js";
import { type WatchEvent, type WatchResourcesOptions, watchResources } from "./watch.js";

/** Options of the `listAll…` methods. */
export interface ListOptions {
  /** Items fetched with one call, 1 to 1000. Default 100. */
  readonly pageSize?: number;
  /** Only items for which this is true (AIP-160), for example `labels.app = "web" AND NOT node = "node-1"`. */
  readonly filter?: string;
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

export interface ListPoliciesOptions extends ListOptions {
  /** Only policies of this network. Default: of all. */
  readonly network?: string;
}

export interface ListConnectionRecordsOptions extends ListOptions {
  /** Also those that closed or were refused lately. Default: live ones only. */
  readonly includeClosed?: boolean;
}

/** The services of a controller. Calls throw SlimFastError and nothing else. */
export interface ControllerServices {
  /** The desired state: what people and orchestrators ask. */
  readonly cluster: ClusterServiceClient<DeadlineOptions>;
  /** What happens: connections, rates, trials of policies. */
  readonly operations: OperationsServiceClient<DeadlineOptions>;
  /** Tokens and the audit log. */
  readonly access: AccessServiceClient<DeadlineOptions>;
  /** What agents ask. */
  readonly agent: AgentServiceClient<DeadlineOptions>;
  /** How a machine becomes a node. */
  readonly enrollment: EnrollmentServiceClient<DeadlineOptions>;
}

/** Lists as async iterators: pages are fetched as the caller comes to them. */
export interface ControllerLists {
  listAllNetworks(options?: ListOptions): AsyncGenerator<Network>;
  listAllNodes(options?: ListOptions): AsyncGenerator<Node>;
  listAllEndpoints(options?: ListEndpointsOptions): AsyncGenerator<Endpoint>;
  listAllPortReservations(options?: ListPortReservationsOptions): AsyncGenerator<PortReservation>;
  listAllPolicies(options?: ListPoliciesOptions): AsyncGenerator<Policy>;
  /** Newest first. */
  listAllConnectionRecords(options?: ListConnectionRecordsOptions): AsyncGenerator<ConnectionRecord>;
  listAllTokens(options?: Omit<ListOptions, "filter">): AsyncGenerator<Token>;
  /** Newest first. */
  listAllAuditEntries(options?: ListOptions): AsyncGenerator<AuditEntry>;
}

/** Streams that come back by themselves after a lost connection. */
export interface ControllerStreams {
  /** What exists, then every change, without gaps or duplicates. */
  watchResources(options?: WatchResourcesOptions): AsyncGenerator<WatchEvent>;
  /** Connections of the whole cluster as they open, close and are refused. */
  tailConnections(options?: TailOptions): AsyncGenerator<ConnectionTailItem>;
  /** The audit log from now on. */
  tailAuditEntries(options?: TailOptions): AsyncGenerator<AuditTailItem>;
}

/** An open connection to a controller. Calls throw SlimFastError and nothing else. */
export interface ControllerClient extends ControllerServices, ControllerLists, ControllerStreams {
  /** Resolves once a server accepts a connection; `unavailable` after `timeoutMs`. No call needs it. */
  ready(timeoutMs: number): Promise<void>;
  /** Ends running calls (`cancelled`) and refuses later ones (`failed_precondition`). May be called twice. */
  close(): void;
}

/** The lists over these services. */
export function controllerLists({ cluster, operations, access }: ControllerServices): ControllerLists {
  const call = (options: ListOptions) => (options.signal ? { signal: options.signal } : {});
  const page = (options: ListOptions, pageToken: string) => ({
    pageSize: options.pageSize ?? 0,
    filter: options.filter ?? "",
    pageToken,
  });
  return {
    listAllNetworks: (options = {}) =>
      eachItem(async (token) => {
        const answer = await cluster.listNetworks(page(options, token), call(options));
        return { items: answer.networks, nextPageToken: answer.nextPageToken };
      }),
    listAllNodes: (options = {}) =>
      eachItem(async (token) => {
        const answer = await cluster.listNodes(page(options, token), call(options));
        return { items: answer.nodes, nextPageToken: answer.nextPageToken };
      }),
    listAllEndpoints: (options = {}) =>
      eachItem(async (token) => {
        const { network = "", node = "" } = options;
        const answer = await cluster.listEndpoints({ ...page(options, token), network, node }, call(options));
        return { items: answer.endpoints, nextPageToken: answer.nextPageToken };
      }),
    listAllPortReservations: (options = {}) =>
      eachItem(async (token) => {
        const { node = "" } = options;
        const answer = await cluster.listPortReservations({ ...page(options, token), node }, call(options));
        return { items: answer.portReservations, nextPageToken: answer.nextPageToken };
      }),
    listAllPolicies: (options = {}) =>
      eachItem(async (token) => {
        const { network = "" } = options;
        const answer = await cluster.listPolicies({ ...page(options, token), network }, call(options));
        return { items: answer.policies, nextPageToken: answer.nextPageToken };
      }),
    listAllConnectionRecords: (options = {}) =>
      eachItem(async (token) => {
        const { includeClosed = false } = options;
        const request = { ...page(options, token), includeClosed };
        const answer = await operations.listConnectionRecords(request, call(options));
        return { items: answer.connections, nextPageToken: answer.nextPageToken };
      }),
    listAllTokens: (options = {}) =>
      eachItem(async (pageToken) => {
        const answer = await access.listTokens({ pageSize: options.pageSize ?? 0, pageToken }, call(options));
        return { items: answer.tokens, nextPageToken: answer.nextPageToken };
      }),
    listAllAuditEntries: (options = {}) =>
      eachItem(async (token) => {
        const answer = await access.listAuditEntries(page(options, token), call(options));
        return { items: answer.entries, nextPageToken: answer.nextPageToken };
      }),
  };
}

/** The streams over these services. */
export function controllerStreams(
  { cluster, operations, access }: ControllerServices,
  retryOptions: RetryOptions = {},
): ControllerStreams {
  const retry = { ...DEFAULT_RETRY, ...retryOptions };
  return {
    watchResources: (options = {}) => watchResources(cluster, options, retry),
    tailConnections: (options = {}) => tailConnections(operations, options, retry),
    tailAuditEntries: (options = {}) => tailAuditEntries(access, options, retry),
  };
}
