/**
 * Keys in order, part by part: a slash sorts before everything else, so the keys `blue/…` stand together and before
 * those of `blue-2/…`.
 *
 * A B+ tree: in one array of 200,000 keys an insertion moves a megabyte, and the garbage collector looks at all that was moved.
 */
import sortedBtree from "sorted-btree";

const SLASH = 47;

export function compareKeys(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let index = 0; index < length; index += 1) {
    const a = one.charCodeAt(index);
    const b = other.charCodeAt(index);
    if (a === b) continue;
    if (a === SLASH) return -1;
    if (b === SLASH) return 1;
    return a - b;
  }
  return one.length - other.length;
}

export class SortedKeys {
  readonly #keys = new sortedBtree.default<string, undefined>(undefined, compareKeys);
  /** Added in bulk: put among the others, in their order, when somebody reads. */
  #loaded: string[] = [];

  get size(): number {
    return this.#keys.size + this.#loaded.length;
  }

  /** The key must not be there. */
  add(key: string): void {
    this.#settle();
    this.#keys.set(key, undefined);
  }

  /** Adds a key of which many come at once. */
  load(key: string): void {
    this.#loaded.push(key);
  }

  /** The key must be there. */
  delete(key: string): void {
    this.#settle();
    if (!this.#keys.delete(key)) throw new Error(`key ${key} is not there`);
  }

  clear(): void {
    this.#keys.clear();
    this.#loaded = [];
  }

  /**
   * The keys that begin with the prefix, in order. None may be added or deleted meanwhile.
   *
   * @param options.after Only those behind this key. @param options.from Only those from this one on.
   */
  *range(prefix: string, options: { after?: string | undefined; from?: string | undefined } = {}): Generator<string> {
    this.#settle();
    const { after, from = prefix } = options;
    const first = after !== undefined && compareKeys(after, from) > 0 ? after : from;
    for (const key of this.#keys.keys(first)) {
      if (key === after) continue;
      if (!key.startsWith(prefix)) return;
      yield key;
    }
  }

  first(prefix: string): string | undefined {
    this.#settle();
    const key = this.#keys.getPairOrNextHigher(prefix)?.[0];
    return key?.startsWith(prefix) ? key : undefined;
  }

  /** The last `count` keys (all, if it is negative), last first, before the given one. */
  backwards(count: number, before?: string): string[] {
    this.#settle();
    const keys: string[] = [];
    if (count === 0) return keys;
    for (const [key] of this.#keys.entriesReversed(before, undefined, true)) {
      keys.push(key);
      if (keys.length === count) break;
    }
    return keys;
  }

  #settle(): void {
    if (this.#loaded.length === 0) return;
    for (const key of this.#loaded.sort(compareKeys)) this.#keys.set(key, undefined);
    this.#loaded = [];
  }
}
