/**
 * Numbers beside other controllers: endpoint ids from blocks of this controller's own, addresses from a place of its own.
 *
 * A block is taken from the VNI's counter in a transaction before any of its ids is given out, so no id is given out
 * twice, whoever crashes when; what is left of a block is never used.
 */
import type { IntegerRange } from "../../domain/allocation.js";
import { ENDPOINT_ID_BLOCK, MAX_ENDPOINT_ID } from "../../limits.js";
import { idsUsedUp } from "../numbers.js";
import type { AddressScope, StoreTransaction } from "../store.js";
import { addressCounter, endpointIdCounter, type NumberSource } from "../transaction.js";

/** A transaction needs a block of ids first. */
export class BlockNeeded extends Error {
  override readonly name = "BlockNeeded";

  constructor(readonly vni: number) {
    super(`no ids for VNI ${vni}`);
  }
}

export class EtcdNumbers implements NumberSource {
  readonly #blocks = new Map<number, { next: number; end: number }>();
  readonly #cursors = new Map<string, number>();

  endpointId(_: StoreTransaction, vni: number): number {
    const block = this.#blocks.get(vni);
    if (!block || block.next === block.end) throw new BlockNeeded(vni);
    const id = block.next;
    block.next += 1;
    return id;
  }

  /** In a transaction of its own; what it returns goes to `giveBlock` once that is committed. */
  takeBlock(tx: StoreTransaction, vni: number): { next: number; end: number } {
    const name = endpointIdCounter(vni);
    const next = tx.get("counter", name)?.next ?? 1;
    if (next > MAX_ENDPOINT_ID) throw idsUsedUp(vni);
    const end = Math.min(next + ENDPOINT_ID_BLOCK, MAX_ENDPOINT_ID + 1);
    tx.put("counter", { name, next: end });
    return { next, end };
  }

  giveBlock(vni: number, block: { next: number; end: number }): void {
    this.#blocks.set(vni, { ...block });
  }

  addressCursor(_: StoreTransaction, scope: AddressScope, { first, last }: IntegerRange): number {
    // Anywhere, so that controllers do not reach for the same addresses.
    return this.#cursors.get(addressCounter(scope)) ?? first + Math.floor(Math.random() * (last - first));
  }

  setAddressCursor(_: StoreTransaction, scope: AddressScope, next: number): void {
    this.#cursors.set(addressCounter(scope), next);
  }
}
