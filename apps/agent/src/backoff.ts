/** Exponential backoff with jitter. Pure: chance is passed in, and nothing here waits. */

export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor(minMs: number, maxMs: number) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /**
   * The pause after one more failure. Random in the upper half, so that many agents which lost the controller together
   * do not come back together, and none comes back at once.
   *
   * @param random - in [0, 1)
   */
  nextMs(random: number): number {
    const longestMs = Math.min(this.#maxMs, this.#minMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return longestMs * (0.5 + random / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
