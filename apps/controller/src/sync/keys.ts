/**
 * Names of what is distributed: `KIND:NAME`, with NETWORK/NAME as the name of an endpoint or a policy. No name contains a
 * colon. Every key is one string, whichever streams hold it: a thousand streams share a thousand names.
 */
import type { Change } from "../store/store.js";

export type SyncKind = "node" | "network" | "endpoint" | "policy";

export type SyncKey = `${SyncKind}:${string}`;

export function splitKey(key: SyncKey): { kind: SyncKind; name: string } {
  const colon = key.indexOf(":");
  return { kind: key.slice(0, colon) as SyncKind, name: key.slice(colon + 1) };
}

/** The network of an endpoint or a policy. */
export function networkOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}

export class SyncKeys {
  readonly #keys: Readonly<Record<SyncKind, Map<string, SyncKey>>> = {
    node: new Map(),
    network: new Map(),
    endpoint: new Map(),
    policy: new Map(),
  };

  key(kind: SyncKind, name: string): SyncKey {
    const keys = this.#keys[kind];
    let key = keys.get(name);
    if (key === undefined) {
      key = `${kind}:${name}`;
      keys.set(name, key);
    }
    return key;
  }

  /** Forgets the keys of what is gone. */
  noteChanges(changes: readonly Change[]): void {
    for (const { kind, key, after } of changes) {
      if (!after && kind in this.#keys) this.#keys[kind as SyncKind].delete(key);
    }
  }
}
