/** The options that both connect functions take, their defaults and their meaning. */

export interface ConnectOptions {
  /** Where the server listens: `unix:/path`, or `host:port` with IPv6 addresses in brackets. */
  readonly address: string;
  /**
   * Time that a call may take, its retries included, in milliseconds; `Infinity` for no limit. Default 10,000. Streams
   * have no limit unless a call sets one. A single call overrides it with its own `deadline` option (milliseconds
   * from now, or a `Date`).
   */
  readonly timeoutMs?: number;
  /** How calls are repeated while the server is unavailable. Only calls that are safe to repeat are. */
  readonly retry?: RetryOptions;
}

export interface RetryOptions {
  /** Attempts in all, the first included; 1 turns retries off. Default 5. */
  readonly maxAttempts?: number;
  /** Longest pause before the first retry, in milliseconds; it doubles with each. Default 50. */
  readonly initialBackoffMs?: number;
  /** Longest pause between two attempts, in milliseconds. Default 1,000. */
  readonly maxBackoffMs?: number;
}

export const DEFAULT_TIMEOUT_MS = 10_000;

export const DEFAULT_RETRY: Required<RetryOptions> = { maxAttempts: 5, initialBackoffMs: 50, maxBackoffMs: 1_000 };
