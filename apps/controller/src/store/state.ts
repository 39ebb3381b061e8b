/**
 * The documents in memory, with their claims and in the order of their keys. Knows nothing of where they are kept.
 *
 * Transactions change it in place, and every change can be undone, so that what a transaction wrote is read by the same
 * indexes as everything else. Nothing else runs meanwhile, so nobody sees what is not committed.
 */
import { ALL_KINDS, claimsOf, type Documents, type Kind, keyOf } from "./kinds.js";
import { SortedKeys } from "./sorted-keys.js";

/** One document's values before and after; undefined: there is none. */
export interface Mutation<K extends Kind = Kind> {
  readonly kind: K;
  readonly key: string;
  readonly before: Documents[K] | undefined;
  readonly after: Documents[K] | undefined;
}

class KindState<K extends Kind> {
  readonly documents = new Map<string, Documents[K]>();
  readonly keys = new SortedKeys();
  /** Key of the document that has the claim. */
  readonly claims = new Map<string, string>();
  readonly claimKeys = new SortedKeys();
}

/** A claim that a document would make belongs to another one. */
export class ClaimTakenError extends Error {
  override readonly name = "ClaimTakenError";

  constructor(kind: Kind, claim: string, holder: string) {
    super(`${claim} belongs to ${kind} ${holder}`);
  }
}

export class State {
  /** The last change that is in it. */
  revision = 0n;
  readonly #kinds: { readonly [K in Kind]: KindState<K> };

  constructor() {
    const kinds = ALL_KINDS.map((kind) => [kind, new KindState()] as const);
    this.#kinds = Object.fromEntries(kinds) as unknown as { readonly [K in Kind]: KindState<K> };
  }

  get<K extends Kind>(kind: K, key: string): Documents[K] | undefined {
    return this.#kinds[kind].documents.get(key);
  }

  /** Key of the document that has the claim. */
  holder(kind: Kind, claim: string): string | undefined {
    return this.#kinds[kind].claims.get(claim);
  }

  keys(kind: Kind): SortedKeys {
    return this.#kinds[kind].keys;
  }

  claims(kind: Kind): SortedKeys {
    return this.#kinds[kind].claimKeys;
  }

  /** @throws ClaimTakenError if another document has one of its claims; nothing is changed then. */
  put<K extends Kind>(kind: K, value: Documents[K]): Mutation<K> {
    const key = keyOf(kind, value);
    const { documents, keys, claims, claimKeys } = this.#kinds[kind];
    const before = documents.get(key);
    const wanted = claimsOf(kind, value);
    for (const claim of wanted) {
      const holder = claims.get(claim);
      if (holder !== undefined && holder !== key) throw new ClaimTakenError(kind, claim, holder);
    }
    for (const claim of before ? claimsOf(kind, before) : []) {
      if (wanted.includes(claim)) continue;
      claims.delete(claim);
      claimKeys.delete(claim);
    }
    for (const claim of wanted) {
      if (!claims.has(claim)) claimKeys.add(claim);
      claims.set(claim, key);
    }
    if (!before) keys.add(key);
    documents.set(key, value);
    return { kind, key, before, after: value };
  }

  delete<K extends Kind>(kind: K, key: string): Mutation<K> | undefined {
    const { documents, keys, claims, claimKeys } = this.#kinds[kind];
    const before = documents.get(key);
    if (!before) return undefined;
    for (const claim of claimsOf(kind, before)) {
      claims.delete(claim);
      claimKeys.delete(claim);
    }
    documents.delete(key);
    keys.delete(key);
    return { kind, key, before, after: undefined };
  }

  /** Puts one of many documents, as on opening; those before it must not be read yet. */
  load<K extends Kind>(kind: K, value: Documents[K]): void {
    const key = keyOf(kind, value);
    const { documents, keys, claims, claimKeys } = this.#kinds[kind];
    if (documents.has(key)) throw new Error(`${kind} ${key} was loaded twice`);
    documents.set(key, value);
    keys.load(key);
    for (const claim of claimsOf(kind, value)) {
      claims.set(claim, key);
      claimKeys.load(claim);
    }
  }

  /** Takes mutations back that were made in this order. */
  undo(mutations: readonly Mutation[]): void {
    for (const { kind, key, before } of mutations.toReversed()) {
      if (before) this.put(kind, before);
      else this.delete(kind, key);
    }
  }
}
