/**
 * How many failed authentications a peer may have before it hears nothing else for a while. Pure, but for the clock.
 *
 * A secret has 256 bits, so this is not what protects it: it keeps a broken or hostile client from filling the audit log
 * and keeping the controller busy. Right credentials go through all the same, so that nobody can lock out a neighbour
 * behind the same address.
 */
import { FAILURE_BURST, FAILURE_PEERS, FAILURE_REFILL_MS } from "./limits.js";

interface Bucket {
  tokens: number;
  timeMs: number;
}

export class FailureLimit {
  readonly #buckets = new Map<string, Bucket>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Notes a failure of the peer.
   *
   * @returns Whether it is within the limit; `last` for the last one that is.
   */
  note(peer: string): "within" | "last" | "beyond" {
    const host = peer.replace(/:\d+$/, "");
    const nowMs = this.#nowMs();
    const bucket = this.#buckets.get(host) ?? { tokens: FAILURE_BURST, timeMs: nowMs };
    this.#buckets.delete(host);
    const before = Math.min(FAILURE_BURST, bucket.tokens + (nowMs - bucket.timeMs) / FAILURE_REFILL_MS);
    const isWithin = before >= 1;
    this.#buckets.set(host, { tokens: isWithin ? before - 1 : before, timeMs: nowMs });
    if (this.#buckets.size > FAILURE_PEERS) {
      const oldest = this.#buckets.keys().next().value;
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    if (isWithin) return before - 1 >= 1 ? "within" : "last";
    return "beyond";
  }
}
