/** When documents of the SQLite store end by themselves. Holds no document: it knows kinds, keys and times. */
import { LEASE_CHECK_MS } from "../limits.js";
import type { Kind } from "./kinds.js";
import { deadline, type LeaseClock, type LeaseStamp, stamp } from "./lease-clock.js";

export interface LeasedDocument {
  readonly kind: Kind;
  readonly key: string;
}

interface Lease extends LeasedDocument {
  /** Boot time. */
  readonly endMs: number;
}

export class SqliteLeases {
  readonly #clock: LeaseClock;
  readonly #expire: (documents: readonly LeasedDocument[]) => void;
  readonly #leases = new Map<string, Lease>();
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: LeaseClock, expire: (documents: readonly LeasedDocument[]) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** A lease of this length from now, to be written with its document and then kept by `restore`. */
  grant(leaseMs: number): LeaseStamp {
    return stamp(this.#clock, leaseMs);
  }

  restore(kind: Kind, key: string, lease: LeaseStamp): void {
    this.#leases.set(`${kind}:${key}`, { kind, key, endMs: deadline(this.#clock, lease) });
  }

  /** What is left of the document's lease, if it has one. */
  present(kind: Kind, key: string): LeaseStamp | undefined {
    const lease = this.#leases.get(`${kind}:${key}`);
    return lease && stamp(this.#clock, Math.max(0, lease.endMs - this.#clock.bootTimeMs()));
  }

  forget(kind: Kind, key: string): void {
    this.#leases.delete(`${kind}:${key}`);
  }

  isOver(kind: Kind, key: string): boolean {
    const lease = this.#leases.get(`${kind}:${key}`);
    return lease !== undefined && lease.endMs <= this.#clock.bootTimeMs();
  }

  /** Calls for the expiry of what is over, now and when the time comes. To be called after each change. */
  watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#leases.size === 0) return;
    const now = this.#clock.bootTimeMs();
    let next = Number.POSITIVE_INFINITY;
    for (const { endMs } of this.#leases.values()) next = Math.min(next, endMs);
    // The timer's clock stands still while the machine sleeps, so it is not trusted for long.
    const waitMs = Math.min(Math.max(0, next - now), LEASE_CHECK_MS);
    this.#timer = setTimeout(() => {
      const over = [...this.#leases.values()].filter(({ kind, key }) => this.isOver(kind, key));
      if (over.length > 0) this.#expire(over);
      else this.watch();
    }, waitMs);
    this.#timer.unref();
  }

  /** Tries an expiry that failed once more, later. */
  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.watch(), LEASE_CHECK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
