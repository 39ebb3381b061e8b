/** Sizes and times of the client, in one place. */

/** What a call may take unless an option says otherwise. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** Messages up to this size are accepted; gRPC's default of 4 MiB is less than a full page of large endpoints. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Pauses between attempts to connect. The servers are near: gRPC's own of up to two minutes are made for the internet. */
export const RECONNECT_FIRST_MS = 100;
export const RECONNECT_LONGEST_MS = 1_000;

/** How long one attempt to connect may take. A busy machine takes its time for a handshake. */
export const CONNECT_ATTEMPT_MS = 5_000;

/** See LivenessOptions. */
export const DEFAULT_LIVENESS = { intervalMs: 10_000, timeoutMs: 5_000, connectMs: 2_000 } as const;

/** How long the look at a server's certificates may take. */
export const CERTIFICATE_LOOK_MS = 5_000;

/** A server shows a sign of life on a watch at least every 30 s; after this long without one the watch begins anew. */
export const WATCH_SILENCE_MS = 75_000;
