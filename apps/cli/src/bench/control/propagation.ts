/** From what the load asked for and what the agents heard: how long changes took, and which did not arrive. Pure. */
import type { Changes } from "./messages.js";

export interface Times {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface PropagationReport {
  /** From the call that asks for a change until an agent has it decoded: one value for each agent and change. */
  readonly toAgent: Times;
  /** From the call until its answer: the change is on disk then. */
  readonly toAnswer: Times;
  readonly changes: number;
  /** Changes that an agent of the network has not heard of, over all agents. */
  readonly missing: number;
}

/** A window of time, by when a change was asked for. */
export interface Window {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The value below which a share of the sorted values is; 0 for none. */
export function quantile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function times(values: Iterable<number>): Times {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => Math.round(quantile(sorted, share) * 100) / 100;
  return { count: sorted.length, p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: at(1) };
}

/**
 * @param receipts Pairs of operation and time, of all agents.
 * @param agentsOf How many agents have to hear of a change of the network.
 */
export function propagation(
  { askedMs, answeredMs, networks }: Changes,
  receipts: Float64Array,
  agentsOf: (network: number) => number,
  { fromMs, untilMs }: Window,
): PropagationReport {
  const isInside = (operation: number) => {
    const asked = askedMs[operation] ?? 0;
    return asked > 0 && asked >= fromMs && asked < untilMs;
  };
  const toAnswer: number[] = [];
  let changes = 0;
  let expected = 0;
  for (let operation = 0; operation < askedMs.length; operation += 1) {
    if (!isInside(operation)) continue;
    changes += 1;
    expected += agentsOf(networks[operation] ?? 0);
    const answered = answeredMs[operation] ?? 0;
    if (answered > 0) toAnswer.push(answered - (askedMs[operation] ?? 0));
  }
  const toAgent: number[] = [];
  for (let index = 0; index < receipts.length; index += 2) {
    const operation = receipts[index] ?? 0;
    if (isInside(operation)) toAgent.push((receipts[index + 1] ?? 0) - (askedMs[operation] ?? 0));
  }
  return {
    toAgent: times(toAgent),
    toAnswer: times(toAnswer),
    changes,
    missing: Math.max(0, expected - toAgent.length),
  };
}
