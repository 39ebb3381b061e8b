/**
 * What the nodes of a network are to be told of it: read once for all of them, since a thousand nodes that connect after a
 * restart need the same of fifty networks. Kept until something in the network changes.
 */
import type { Change, StoreReader } from "../store/store.js";
import type { SyncKey, SyncKeys } from "./keys.js";

export interface NetworkContent {
  /** Nodes with endpoints in the network. */
  readonly nodes: ReadonlySet<string>;
  /** Its policies, then its endpoints. */
  readonly keys: readonly SyncKey[];
}

export class NetworkContents {
  readonly #store: Pick<StoreReader, "listPolicies" | "listEndpoints">;
  readonly #keys: SyncKeys;
  readonly #contents = new Map<string, NetworkContent>();

  constructor(store: Pick<StoreReader, "listPolicies" | "listEndpoints">, keys: SyncKeys) {
    this.#store = store;
    this.#keys = keys;
  }

  of(network: string): NetworkContent {
    let content = this.#contents.get(network);
    if (!content) {
      content = this.#read(network);
      this.#contents.set(network, content);
    }
    return content;
  }

  #read(network: string): NetworkContent {
    const policies = this.#store.listPolicies({ network, limit: -1 });
    const endpoints = this.#store.listEndpoints({ network, limit: -1 });
    return {
      nodes: new Set(endpoints.map(({ node }) => node)),
      keys: [
        ...policies.map(({ name }) => this.#keys.key("policy", `${network}/${name}`)),
        ...endpoints.map(({ name }) => this.#keys.key("endpoint", `${network}/${name}`)),
      ],
    };
  }

  /** To be called before anybody hears of the changes: who needs a network now reads what it is now. */
  noteChanges(changes: readonly Change[]): void {
    for (const { kind, before, after } of changes) {
      if (kind !== "endpoint" && kind !== "policy") continue;
      for (const one of [before, after]) if (one) this.#contents.delete(one.network);
    }
  }
}
