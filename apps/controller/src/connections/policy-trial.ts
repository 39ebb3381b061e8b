/**
 * What a policy would change, tried against connections that were there. Pure; what policies mean is defined in
 * @slimfast/proto.
 */
import * as proto from "@slimfast/proto";
import { invalidField, notFound } from "../errors.js";
import type { ClusterView } from "./cluster-view.js";
import { MAX_POLICY_EFFECTS } from "./limits.js";
import type { ConnectionRecord } from "./node-table.js";

export class PolicyTrial {
  readonly #network: Pick<proto.Network, "name" | "defaultDeny">;
  readonly #before: readonly proto.DecidingPolicy[];
  readonly #after: readonly proto.DecidingPolicy[];
  readonly #view: ClusterView;
  readonly #decided = new Map<string, { before: proto.Verdict; after: proto.Verdict }>();
  readonly #answer = { tried: 0, newlyDenied: 0, newlyAllowed: 0, effects: [] as proto.PolicyEffect[] };

  /** @throws ClusterError if there is no such network, or the policy is malformed. */
  constructor({ policy, deleted }: Pick<proto.TryPolicyRequest, "policy" | "deleted">, view: ClusterView) {
    if (!policy) throw invalidField("policy", "is missing");
    const network = view.network(policy.network);
    if (!network) throw notFound("network", policy.network);
    this.#network = network;
    this.#view = view;
    this.#before = view.policies(policy.network);
    const others = this.#before.filter(({ name }) => name !== policy.name);
    if (deleted) {
      if (others.length === this.#before.length) throw invalidField("policy.name", "is not that of a policy");
      this.#after = others;
      return;
    }
    if (policy.from.length === 0) throw invalidField("policy.from", "is empty: name at least one selector");
    if (policy.to.length === 0) throw invalidField("policy.to", "is empty: name at least one selector");
    checkPrefixes("policy.from", policy.from);
    checkPrefixes("policy.to", policy.to);
    this.#after = [...others, policy];
  }

  add(record: ConnectionRecord): void {
    const { connection } = record;
    if (connection.network !== this.#network.name || connection.peerEndpoint === "") return;
    // The other end reports the same connection.
    if (connection.direction !== proto.Direction.DIRECTION_OUTBOUND) return;
    const port = connection.peer?.port ?? 0;
    const verdicts = this.#verdicts(connection.endpoint, connection.peerEndpoint, port);
    if (!verdicts) return;
    this.#answer.tried += 1;
    const { before, after } = verdicts;
    if (before === after) return;
    if (after === proto.Verdict.VERDICT_DENIED) this.#answer.newlyDenied += 1;
    else this.#answer.newlyAllowed += 1;
    if (this.#answer.effects.length < MAX_POLICY_EFFECTS) {
      this.#answer.effects.push({ connection: record, before, after });
    }
  }

  answer(windowMs: number): proto.TryPolicyResponse {
    const seconds = Math.floor(windowMs / 1_000);
    const nanos = Math.round((windowMs - seconds * 1_000) * 1e6);
    return { ...this.#answer, window: { seconds: BigInt(seconds), nanos } };
  }

  /** Undefined if an end does not exist any more. */
  #verdicts(
    fromName: string,
    toName: string,
    port: number,
  ): { before: proto.Verdict; after: proto.Verdict } | undefined {
    const key = `${fromName}/${toName}/${port}`;
    const known = this.#decided.get(key);
    if (known) return known;
    const from = this.#view.endpoint(this.#network.name, fromName);
    const to = this.#view.endpoint(this.#network.name, toName);
    if (!from || !to) return undefined;
    const decide = (policies: readonly proto.DecidingPolicy[]): proto.Verdict =>
      proto.evaluatePolicies(this.#network, policies, from, to, port).verdict;
    const verdicts = { before: decide(this.#before), after: decide(this.#after) };
    this.#decided.set(key, verdicts);
    return verdicts;
  }
}

function checkPrefixes(field: string, selectors: readonly proto.EndpointSelector[]): void {
  for (const [index, selector] of selectors.entries()) {
    try {
      proto.endpointMatcher([selector]);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw invalidField(`${field}[${index}].prefix`, error.message);
    }
  }
}

/** The sum of several controllers' answers. */
export function mergeTrials(answers: readonly proto.TryPolicyResponse[]): proto.TryPolicyResponse {
  const windows = answers.map(({ window }) => Number(window?.seconds ?? 0n) + (window?.nanos ?? 0) / 1e9);
  const shortest = answers[windows.indexOf(Math.min(...windows))]?.window;
  return {
    tried: answers.reduce((sum, { tried }) => sum + tried, 0),
    newlyDenied: answers.reduce((sum, { newlyDenied }) => sum + newlyDenied, 0),
    newlyAllowed: answers.reduce((sum, { newlyAllowed }) => sum + newlyAllowed, 0),
    effects: answers.flatMap(({ effects }) => effects).slice(0, MAX_POLICY_EFFECTS),
    window: shortest,
  };
}
