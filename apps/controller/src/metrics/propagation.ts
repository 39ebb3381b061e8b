/** Times the way of commits to the nodes: when a revision was committed, and when a node has acknowledged it. */

/** Commits whose time is remembered: those of about 40 s at 100 changes/s. */
const REMEMBERED_COMMITS = 4_096;

export class Propagation {
  readonly #committedMs = new Map<bigint, number>();
  readonly #observe: (seconds: number) => void;

  constructor(observe: (seconds: number) => void) {
    this.#observe = observe;
  }

  committed(revision: bigint, nowMs: number): void {
    this.#committedMs.set(revision, nowMs);
    if (this.#committedMs.size <= REMEMBERED_COMMITS) return;
    const [oldest] = this.#committedMs.keys();
    if (oldest !== undefined) this.#committedMs.delete(oldest);
  }

  /** A node has acknowledged everything up to the revision. Only the last commit counts: the others were merged into it. */
  acknowledged(revision: bigint, nowMs: number): void {
    const committedMs = this.#committedMs.get(revision);
    if (committedMs !== undefined) this.#observe(Math.max(0, nowMs - committedMs) / 1_000);
  }
}
