/** Every time-out, size and pause of the agent, in one place. Tests pass their own. */
import { MAX_LISTED_CONNECTIONS } from "@slimfast/proto";

export interface Limits {
  /** Time to register and to receive the first state, at start. */
  startupTimeoutMs: number;
  /** Of that, on a node that a former agent has left running. */
  adoptedStartMs: number;
  /** Pause before the first reconnection to the controller; it doubles with each failure. */
  reconnectMinMs: number;
  /** Longest pause between two attempts to reconnect. */
  reconnectMaxMs: number;
  /** A stream that lasted this long was healthy: the next pause is the shortest again. */
  streamHealthyMs: number;
  /** Time for the controller to answer CreateEndpoint; it waits up to 2 s for the peers. */
  createEndpointTimeoutMs: number;
  /** Time for the controller to answer DeleteEndpoint, before the deletion goes on in the background. */
  deleteEndpointTimeoutMs: number;
  /** Time for a new endpoint to come back on the sync stream. */
  endpointSyncTimeoutMs: number;
  /** Time for the controller to end a stream after a NACK, before it is cut. */
  refusalFlushMs: number;
  /** Pause before a state that the core refused is tried again; it doubles with each failure. */
  refusedRetryMinMs: number;
  refusedRetryMaxMs: number;
  /** Pause before a deletion that failed is tried again; it doubles with each failure. */
  deletionRetryMinMs: number;
  deletionRetryMaxMs: number;
  /** An ephemeral endpoint that no process has joined after this time is removed. */
  ephemeralJoinMs: number;
  /** Events kept for one reader that is too slow; the oldest are dropped. */
  watcherBufferEvents: number;
  /** Most events in one message to a reader. */
  watcherBatchEvents: number;
  /** Events that wait to be reported to the controller; the oldest are dropped. */
  reportBufferEvents: number;
  /** Most events in one message to the controller. */
  reportBatchEvents: number;
  /** Pause between two messages with events. */
  reportIntervalMs: number;
  /** Pause between two reports of the kernel's counters. */
  reportCountersMs: number;
  /** Pause between two looks at the values (bytes, round-trip time) of live connections. */
  reportValuesMs: number;
  /** Most live connections in one message, to the controller or to a local caller: about 4 MB. */
  messageConnections: number;
  /** Time for all of a graceful exit. */
  shutdownTimeoutMs: number;
}

/** How soon one controller out of several is given up: after at most 1.5 s when it is silent, at once when it is gone. */
export const FAILOVER_LIVENESS = { intervalMs: 500, timeoutMs: 500, connectMs: 500 } as const;

/** How long calls that were begun before the list of controllers changed may still take. */
export const FORMER_CLIENT_MS = 15_000;

export const DEFAULT_LIMITS: Readonly<Limits> = {
  startupTimeoutMs: 15_000,
  adoptedStartMs: 2_000,
  reconnectMinMs: 100,
  reconnectMaxMs: 5_000,
  streamHealthyMs: 5_000,
  createEndpointTimeoutMs: 10_000,
  deleteEndpointTimeoutMs: 2_000,
  endpointSyncTimeoutMs: 10_000,
  refusalFlushMs: 1_000,
  refusedRetryMinMs: 1_000,
  refusedRetryMaxMs: 30_000,
  deletionRetryMinMs: 200,
  deletionRetryMaxMs: 10_000,
  ephemeralJoinMs: 30_000,
  watcherBufferEvents: 4_096,
  watcherBatchEvents: 256,
  reportBufferEvents: 20_000,
  reportBatchEvents: 2_000,
  reportIntervalMs: 100,
  reportCountersMs: 1_000,
  reportValuesMs: 5_000,
  messageConnections: MAX_LISTED_CONNECTIONS,
  shutdownTimeoutMs: 4_500,
};
