/**
 * The underlay addresses of all nodes, for those that must not let anybody out to them. What changes is collected, so that many
 * nodes which come within a moment are one message to each of the others.
 */
import { NodeAddresses } from "@slimfast/proto";
import type { Change, StoreReader } from "../store/store.js";

function numberOf(address: string): number {
  return address.split(".").reduce((number, byte) => number * 256 + Number(byte), 0);
}

export class NodeAddressBook {
  readonly #store: Pick<StoreReader, "listNodes">;
  /** Addresses that a node has got or given up. */
  readonly #changed = new Set<number>();
  #all: NodeAddresses | undefined;

  constructor(store: Pick<StoreReader, "listNodes">) {
    this.#store = store;
  }

  /** All that there are. The same object until one changes. */
  all(): NodeAddresses {
    this.#all ??= NodeAddresses.fromPartial({
      isComplete: true,
      added: this.#store.listNodes({ limit: -1 }).map(({ underlayAddress }) => numberOf(underlayAddress)),
    });
    return this.#all;
  }

  /** @returns Whether an address has changed, so that there is something to take. */
  note({ kind, before, after }: Change): boolean {
    if (kind !== "node" || before?.underlayAddress === after?.underlayAddress) return false;
    for (const node of [before, after]) if (node) this.#changed.add(numberOf(node.underlayAddress));
    this.#all = undefined;
    return true;
  }

  /** What has changed since the last time. */
  take(): NodeAddresses {
    const there = new Set(this.all().added);
    const changed = [...this.#changed];
    this.#changed.clear();
    return NodeAddresses.fromPartial({
      added: changed.filter((address) => there.has(address)),
      removed: changed.filter((address) => !there.has(address)),
    });
  }
}

/** One after the other, as one. */
export function mergedAddresses(changes: readonly NodeAddresses[]): NodeAddresses | undefined {
  const [first, ...others] = changes;
  if (!first || others.length === 0) return first;
  const there = new Map<number, boolean>();
  for (const { added, removed } of changes) {
    for (const address of removed) there.set(address, false);
    for (const address of added) there.set(address, true);
  }
  const those = (isThere: boolean) => [...there].filter(([, one]) => one === isThere).map(([address]) => address);
  return NodeAddresses.fromPartial({ added: those(true), removed: those(false) });
}

/** That there are none. */
export const NO_ADDRESSES = NodeAddresses.fromPartial({ isComplete: true });
