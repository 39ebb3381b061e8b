/**
 * Transactions as one etcd transaction: what they read as comparisons, what they wrote as operations. Pure.
 *
 * Documents are compared by the revision that last touched them, claims by who has them, and prefixes that were listed by
 * nothing in them being newer than what was read. Everything that is written is compared as well. Where that is more than
 * etcd takes, by nothing at all having been written since.
 */
import type { ICompare, IRangeRequest, IRequestOp } from "etcd3";
import { ETCD_NESTED_OPERATIONS, ETCD_TRANSACTION_OPERATIONS } from "../../limits.js";
import { claimsOf, type Documents, isVolatile, type Kind } from "../kinds.js";
import type { ReadNotes } from "../reader.js";
import type { State } from "../state.js";
import type { Write } from "../transaction.js";
import { BATCHES, claimKey, documentKey, HOLD_KEY, rangeEnd } from "./etcd-keys.js";

/** Notes what was read; the comparisons are made from the state as it was before. */
export class BatchNotes implements ReadNotes {
  readonly #documents = new Map<string, { kind: Kind; key: string }>();
  readonly #claims = new Map<string, { kind: Kind; claim: string }>();
  readonly #prefixes = new Set<string>();

  document(kind: Kind, key: string): void {
    this.#documents.set(documentKey(kind, key), { kind, key });
  }

  claim(kind: Kind, claim: string): void {
    this.#claims.set(claimKey(kind, claim), { kind, claim });
  }

  documents(kind: Kind, prefix: string): void {
    this.#prefixes.add(documentKey(kind, prefix));
  }

  claims(kind: Kind, prefix: string): void {
    this.#prefixes.add(claimKey(kind, prefix));
  }

  get size(): number {
    return this.#documents.size + this.#claims.size + this.#prefixes.size;
  }

  add(other: BatchNotes): void {
    for (const { kind, key } of other.#documents.values()) this.document(kind, key);
    for (const { kind, claim } of other.#claims.values()) this.claim(kind, claim);
    for (const prefix of other.#prefixes) this.#prefixes.add(prefix);
  }

  comparisons(state: State): ICompare[] {
    const result: ICompare[] = [];
    for (const [name, { kind, key }] of this.#documents) {
      const revision = String(state.get(kind, key)?.revision ?? 0n);
      result.push({ key: Buffer.from(name), target: "Mod", result: "Equal", mod_revision: revision });
    }
    for (const [name, { kind, claim }] of this.#claims) {
      const holder = state.holder(kind, claim);
      const key = Buffer.from(name);
      if (holder === undefined) result.push({ key, target: "Create", result: "Equal", create_revision: "0" });
      else result.push({ key, target: "Value", result: "Equal", value: Buffer.from(holder) });
    }
    const newer = String(state.revision + 1n);
    for (const prefix of this.#prefixes) {
      const range_end = rangeEnd(prefix);
      result.push({ key: Buffer.from(prefix), range_end, target: "Mod", result: "Less", mod_revision: newer });
    }
    return result;
  }
}

/** The lease that a document is to have: an id, or "0" for none. */
export type LeaseOf = (write: Write) => string;

export function operations(write: Write, leaseOf: LeaseOf): IRequestOp[] {
  const { kind, key, before, after } = write;
  const claims = (value: Documents[Kind] | undefined) => new Set(value ? claimsOf(kind, value) : []);
  const had = claims(before);
  const has = claims(after);
  const result: IRequestOp[] = [];
  const name = Buffer.from(documentKey(kind, key));
  const lease = leaseOf(write);
  if (after) {
    const { revision: _, ...content } = after;
    result.push({ request_put: { key: name, value: Buffer.from(JSON.stringify(content)), lease } });
  } else {
    result.push({ request_delete_range: { key: name } });
  }
  for (const claim of had) {
    if (!has.has(claim)) result.push({ request_delete_range: { key: Buffer.from(claimKey(kind, claim)) } });
  }
  // A claim that stays is written again only where its lease may be another one.
  const isLeased = isVolatile(kind) || write.leaseMs !== undefined;
  for (const claim of has) {
    if (had.has(claim) && !isLeased) continue;
    result.push({ request_put: { key: Buffer.from(claimKey(kind, claim)), value: Buffer.from(key), lease } });
  }
  return result;
}

/**
 * Any number of operations as one etcd transaction: in groups of groups, because etcd counts what is directly in a
 * transaction, and gives those inside it what is left of the number. All of them are applied, at one revision, or none.
 */
export function nested(all: readonly IRequestOp[]): IRequestOp[] {
  if (all.length <= ETCD_TRANSACTION_OPERATIONS) return [...all];
  let groups: IRequestOp[] = [...all];
  while (groups.length > ETCD_NESTED_OPERATIONS) {
    const inner = groups;
    groups = [];
    for (let first = 0; first < inner.length; first += ETCD_NESTED_OPERATIONS) {
      groups.push({ request_txn: { success: inner.slice(first, first + ETCD_NESTED_OPERATIONS) } });
    }
  }
  return groups;
}

/**
 * That no controller has written anything since the revision: what stands for more comparisons than etcd takes. Each batch
 * writes its controller's key, deletions included; only what ends with its lease goes unseen, and nobody relies on that.
 */
export function nothingWrittenSince(revision: bigint): ICompare {
  const mod_revision = String(revision + 1n);
  return { key: Buffer.from(BATCHES), range_end: rangeEnd(BATCHES), target: "Mod", result: "Less", mod_revision };
}

/** That no controller holds the others up. */
export const NOT_HELD: ICompare = { key: HOLD_KEY, target: "Create", result: "Equal", create_revision: "0" };

/** The mark of the last batch of all controllers. */
export const LAST_BATCH: IRangeRequest = {
  ...{ key: Buffer.from(BATCHES), range_end: rangeEnd(BATCHES), limit: 1 },
  ...{ sort_order: "Descend", sort_target: "Mod" },
};

/** Notes what a write touches. */
export function noteWrite(notes: BatchNotes, { kind, key, before, after }: Write): void {
  notes.document(kind, key);
  const had = before ? claimsOf(kind, before) : [];
  for (const claim of after ? claimsOf(kind, after) : []) if (!had.includes(claim)) notes.claim(kind, claim);
}
