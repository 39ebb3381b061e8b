/**
 * Distribution of setup times over a sliding window. Pure: the time is passed in.
 *
 * Buckets grow by a sixteenth of an octave, so a percentile is at most 4.4 % above the truth, and those of several
 * controllers can be added. The window slides in steps of one second.
 */

const BUCKETS_PER_OCTAVE = 16;
const STEP_MS = 1_000;

/** How many connections fell into each bucket. Bucket i > 0 is up to 2^(i/16) us. */
export type Distribution = Map<number, number>;

function bucketOf(us: number): number {
  return us <= 1 ? 0 : Math.ceil(Math.log2(us) * BUCKETS_PER_OCTAVE);
}

function upperBoundUs(bucket: number): number {
  return Math.round(2 ** (bucket / BUCKETS_PER_OCTAVE));
}

export function addDistribution(to: Distribution, from: ReadonlyMap<number, number>): void {
  for (const [bucket, count] of from) to.set(bucket, (to.get(bucket) ?? 0) + count);
}

export function countOf(distribution: ReadonlyMap<number, number>): number {
  let count = 0;
  for (const value of distribution.values()) count += value;
  return count;
}

/** Upper bounds of the values below which these fractions of the connections lie; 0 where there are none. */
export function quantilesUs(distribution: ReadonlyMap<number, number>, fractions: readonly number[]): number[] {
  const buckets = [...distribution].sort(([one], [other]) => one - other);
  const count = countOf(distribution);
  return fractions.map((fraction) => {
    const rank = Math.ceil(fraction * count);
    let seen = 0;
    for (const [bucket, inBucket] of buckets) {
      seen += inBucket;
      if (seen >= rank) return upperBoundUs(bucket);
    }
    return 0;
  });
}

export class SetupTimesWindow {
  readonly #windowMs: number;
  /** By step of the window, oldest first. */
  readonly #steps = new Map<number, Distribution>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  note(setupUs: number, nowMs: number): void {
    const step = Math.floor(nowMs / STEP_MS);
    let distribution = this.#steps.get(step);
    if (!distribution) {
      this.#expire(nowMs);
      distribution = new Map();
      this.#steps.set(step, distribution);
    }
    const bucket = bucketOf(setupUs);
    distribution.set(bucket, (distribution.get(bucket) ?? 0) + 1);
  }

  distribution(nowMs: number): Distribution {
    this.#expire(nowMs);
    const sum: Distribution = new Map();
    for (const distribution of this.#steps.values()) addDistribution(sum, distribution);
    return sum;
  }

  #expire(nowMs: number): void {
    const oldest = Math.floor((nowMs - this.#windowMs) / STEP_MS);
    for (const step of this.#steps.keys()) {
      if (step <= oldest) this.#steps.delete(step);
    }
  }
}
