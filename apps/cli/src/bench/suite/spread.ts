/** What can be said about few samples without assuming how they are distributed. Pure. */
import { median } from "../statistics.js";

export interface Summary {
  readonly median: number;
  /** Median of the absolute differences from the median. */
  readonly mad: number;
  readonly samples: readonly number[];
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2_000;
const CONFIDENCE = 0.95;
/** Up to so many pairs the test's distribution is counted out; beyond, the normal one is close enough. */
const EXACT_UP_TO = 400;

export function summarize(samples: readonly number[]): Summary {
  const middle = median(samples);
  return { median: middle, mad: median(samples.map((sample) => Math.abs(sample - middle))), samples };
}

/**
 * Two-sided Mann-Whitney test: how probable a difference at least this large is if both samples come from one distribution.
 * Exact where there are no ties and few samples.
 */
export function mannWhitney(first: readonly number[], second: readonly number[]): number {
  const [m, n] = [first.length, second.length];
  if (m === 0 || n === 0) return 1;
  let u = 0;
  for (const a of first) for (const b of second) u += a > b ? 1 : a === b ? 0.5 : 0;
  const all = [...first, ...second];
  const hasTies = new Set(all).size < all.length;
  const extreme = Math.min(u, m * n - u);
  if (!hasTies && m * n <= EXACT_UP_TO) return Math.min(1, 2 * atMost(extreme, m, n));
  const total = m + n;
  const ties = tieGroups(all).reduce((sum, size) => sum + size ** 3 - size, 0);
  const variance = ((m * n) / 12) * (total + 1 - ties / (total * (total - 1)));
  if (variance <= 0) return 1;
  // Half a step towards the middle: U is whole, the normal distribution is not.
  const z = Math.max(0, (m * n) / 2 - extreme - 0.5) / Math.sqrt(variance);
  return Math.min(1, 2 * upperTail(z));
}

/** The probability of U <= u: ways to order the samples that give it, over all ways. */
function atMost(u: number, m: number, n: number): number {
  // ways[i][j][k]: orders of i and j samples with U = k, built up one sample at a time.
  let row = Array.from({ length: n + 1 }, () => [1]);
  for (let i = 1; i <= m; i += 1) {
    const next: number[][] = [[1]];
    for (let j = 1; j <= n; j += 1) {
      const without = next[j - 1] ?? [];
      const withOne = row[j] ?? [];
      next.push(Array.from({ length: i * j + 1 }, (_, k) => (without[k] ?? 0) + (withOne[k - j] ?? 0)));
    }
    row = next;
  }
  const ways = row[n] ?? [1];
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return sum(ways.slice(0, Math.floor(u) + 1)) / sum(ways);
}

function tieGroups(values: readonly number[]): number[] {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.values()];
}

/** Of the standard normal distribution; Abramowitz and Stegun 26.2.17, good to 7.5e-8. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const polynomial = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}

/** Bootstrap interval of median(first) / median(second). The same samples always give the same interval. */
export function ratioInterval(first: readonly number[], second: readonly number[]): Interval {
  const random = xorshift(0x5eed);
  const resampled = (samples: readonly number[]) =>
    median(samples.map(() => samples[Math.floor(random() * samples.length)] ?? 0));
  const ratios = Array.from({ length: RESAMPLES }, () => resampled(first) / resampled(second)).sort((a, b) => a - b);
  const at = (share: number) => ratios[Math.min(RESAMPLES - 1, Math.floor(share * RESAMPLES))] ?? Number.NaN;
  return { low: at((1 - CONFIDENCE) / 2), high: at((1 + CONFIDENCE) / 2) };
}

function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * Benjamini and Hochberg: which of the differences hold if at most this share of what is named may be chance. Without it,
 * one comparison in twenty would name a change where there is none.
 */
export function discoveries(probabilities: readonly number[], falseShare: number): boolean[] {
  const order = probabilities.map((p, index) => ({ p, index })).sort((a, b) => a.p - b.p);
  let last = -1;
  for (const [rank, { p }] of order.entries()) if (p <= ((rank + 1) / order.length) * falseShare) last = rank;
  const found = probabilities.map(() => false);
  for (const { index } of order.slice(0, last + 1)) found[index] = true;
  return found;
}
