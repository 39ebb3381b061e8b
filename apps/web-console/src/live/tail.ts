/** The connections that the page knows: live ones and those that ended lately, by id, newest first. Pure. */
import type { ConnectionRecord } from "@slimfast/proto";
import { isLive } from "./filter.js";

/** More are forgotten, the oldest first. */
export const MAX_ROWS = 100_000;

/** Of the last thing that is known to have happened to it. */
function lastTimeMs({ openTime, closeTime }: ConnectionRecord): number {
  return (closeTime ?? openTime)?.getTime() ?? 0;
}

export class ConnectionTable {
  readonly #byId = new Map<string, ConnectionRecord>();
  #sorted: readonly ConnectionRecord[] | undefined;
  /** Events that were taken so far. */
  taken = 0;

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): ConnectionRecord | undefined {
    return this.#byId.get(id);
  }

  /** Events: each comes first, whether its connection was known or not. */
  apply(records: readonly ConnectionRecord[]): void {
    if (records.length === 0) return;
    for (const record of records) {
      this.#byId.delete(record.id);
      this.#byId.set(record.id, record);
    }
    this.taken += records.length;
    this.#changed();
  }

  /** New values of live connections, which stay where they are. */
  update(records: readonly ConnectionRecord[]): void {
    const known = records.filter(({ id }) => this.#byId.has(id));
    if (known.length === 0) return;
    for (const record of known) this.#byId.set(record.id, record);
    this.#sorted = undefined;
  }

  /** Live connections at these nodes; an empty name stands for all. */
  liveAt(nodes: readonly string[]): string[] {
    const isMeant = (record: ConnectionRecord): boolean =>
      isLive(record) && nodes.some((node) => node === "" || node === record.connection?.node);
    return [...this.#byId.values()].filter(isMeant).map(({ id }) => id);
  }

  /**
   * What a list of the controller says, newest first: rows that are not known are added where their time has them. Those of
   * `gone` that are still live here and not in the list have ended while nobody told; they are forgotten.
   */
  reconcile(listed: readonly ConnectionRecord[], gone: readonly string[]): void {
    const present = new Set(listed.map(({ id }) => id));
    for (const id of gone) {
      const record = this.#byId.get(id);
      if (record && isLive(record) && !present.has(id)) this.#byId.delete(id);
    }
    const fresh = listed.filter(({ id }) => !this.#byId.has(id)).reverse();
    if (fresh.length > 0) {
      // Of equal times what was told is newer than what is listed.
      const all = [...fresh, ...this.#byId.values()].sort((a, b) => lastTimeMs(a) - lastTimeMs(b));
      this.#byId.clear();
      for (const record of all) this.#byId.set(record.id, record);
    }
    this.#changed();
  }

  #changed(): void {
    for (const id of this.#byId.keys()) {
      if (this.#byId.size <= MAX_ROWS) break;
      this.#byId.delete(id);
    }
    this.#sorted = undefined;
  }

  get newestFirst(): readonly ConnectionRecord[] {
    this.#sorted ??= [...this.#byId.values()].reverse();
    return this.#sorted;
  }
}
