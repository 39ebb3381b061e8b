/** The last so many items. Pure. */
export class Recent<Item> {
  readonly #items: Item[] = [];
  readonly #capacity: number;
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isFull(): boolean {
    return this.#items.length === this.#capacity;
  }

  push(item: Item): void {
    this.#items[this.#next] = item;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** Of those that are kept. */
  get oldest(): Item | undefined {
    return this.isFull ? this.#items[this.#next] : this.#items[0];
  }

  /** In no particular order. */
  [Symbol.iterator](): IterableIterator<Item> {
    return this.#items.values();
  }
}
