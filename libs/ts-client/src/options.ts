/** The options that the connect functions take, their defaults and their meaning. */

/** What every connect function takes, whatever the transport. */
export interface CallSettings {
  /**
   * Time that a call may take, its retries included, in milliseconds; `Infinity` for no limit. Default 10,000. Streams
   * have no limit unless a call sets one. A single call overrides it with its own `deadline` option (milliseconds
   * from now, or a `Date`).
   */
  readonly timeoutMs?: number;
  /** How calls are repeated while the server is unavailable. Only calls that are safe to repeat are. */
  readonly retry?: RetryOptions;
  /**
   * An API token (`sf_…`), sent as `authorization: Bearer TOKEN` with every call. Not needed on a unix socket, nor where
   * a client certificate says who calls. Refused (`invalid_argument`) for an address where it would cross a network in
   * the clear: a host that is not this one, without `tls`.
   */
  readonly token?: string;
}

/** Options of the connect functions for Node.js. */
export interface ConnectOptions extends CallSettings {
  /**
   * Where the server listens: `unix:/path`, or `host:port` with IPv6 addresses in brackets. Several are servers of one
   * cluster, any of which will do: the first that accepts a connection is used until it fails, then the next.
   */
  readonly address: string | readonly string[];
  /**
   * Encrypts, and says who is who. Without it calls go in the clear. Not used for `unix:` addresses. A function is asked
   * for every connection anew, so that certificates can be renewed while the client is open.
   */
  readonly tls?: TlsOptions | (() => TlsOptions);
  /** How soon a server that says nothing is given up. Default: 10 s, 5 s and 2 s. */
  readonly liveness?: LivenessOptions;
}

/** All in milliseconds. A server that vanished without a word is noticed after the sum of the first two. */
export interface LivenessOptions {
  /** Pause between two signs of life that the server is asked for while a call runs. */
  readonly intervalMs: number;
  /** How long it may take to give one. */
  readonly timeoutMs: number;
  /** How long one server out of several may take to accept a connection before the next one is tried. */
  readonly connectMs: number;
}

/** All in PEM. At least one of `ca` and `fingerprint` says whom to trust; without both it is the system's authorities. */
export interface TlsOptions {
  /** Certificates of the authorities that may have signed the server's certificate. */
  readonly ca?: string | Uint8Array;
  /**
   * SHA-256 of the authority's certificate (DER) in hex; colons and case do not matter. For a client that has no copy of
   * the authority's certificate yet: it is taken from the server's chain, and must have this fingerprint. Ignored if
   * there is a `ca`.
   */
  readonly fingerprint?: string;
  /** The client's certificate, followed by the intermediate ones if there are any. Needs `key`. */
  readonly cert?: string | Uint8Array;
  /** The private key of `cert`. */
  readonly key?: string | Uint8Array;
  /** The name that the server's certificate must have. Default: the host of the address. */
  readonly serverName?: string;
}

export interface RetryOptions {
  /** Attempts in all, the first included; 1 turns retries off. Default 5. */
  readonly maxAttempts?: number;
  /** Longest pause before the first retry, in milliseconds; it doubles with each. Default 50. */
  readonly initialBackoffMs?: number;
  /** Longest pause between two attempts, in milliseconds. Default 1,000. */
  readonly maxBackoffMs?: number;
}

export const DEFAULT_RETRY: Required<RetryOptions> = { maxAttempts: 5, initialBackoffMs: 50, maxBackoffMs: 1_000 };
