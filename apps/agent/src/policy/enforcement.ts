/**
 * Keeps the kernel's policies in step with the cluster's state: what is enforced is compiled and set when it differs from
 * what was set last.
 *
 * Order: before the core's state changes, the new policies are set for the old and the new endpoints together; after it,
 * what has gone is taken out. So an endpoint is in the policies before it can be reached, and as long as it can. What the
 * core refuses leaves what was set before in force, and is tried again with the next change.
 */
import type { Core } from "@slimfast/core";
import type { ClusterState, PlannedStep } from "../cluster-state.js";
import { NetworkCompiler, type NetworkView } from "./compile.js";

export interface EnforcementOptions {
  core: Pick<Core, "setNetworkPolicy" | "removeNetworkPolicy" | "policyNotes">;
  state: Pick<ClusterState, "view">;
  /** Name of this node. */
  node: string;
  log: { info(fields: object, message: string): void };
}

interface Enforced {
  readonly compiler: NetworkCompiler;
  /** By VNI, which a network that was made anew may have changed; text to compare with. */
  readonly set: Map<number, string>;
}

export class PolicyEnforcement {
  readonly #options: EnforcementOptions;
  readonly #enforced = new Map<string, Enforced>();
  /** Identities of a former agent's policies, by VNI. */
  readonly #inherited: ReadonlyMap<number, ReadonlyMap<string, number>>;
  /** Networks whose policies may be more than what is needed, or not be taken away yet. */
  readonly #unsettled = new Set<string>();

  constructor(options: EnforcementOptions) {
    this.#options = options;
    this.#inherited = new Map(options.core.policyNotes().map(({ vni, note }) => [vni, readNumbers(note)]));
  }

  /** To be called before the core takes the step. */
  async prepare(step: Pick<PlannedStep, "views">): Promise<void> {
    for (const view of step.views()) await this.#enforce(view);
  }

  /** To be called when the core's state is as planned; `networks` are those that were touched. */
  async settle(networks: Iterable<string>): Promise<void> {
    for (const name of networks) this.#unsettled.add(name);
    for (const name of [...this.#unsettled]) {
      await this.#settle(name);
      this.#unsettled.delete(name);
    }
  }

  async #settle(name: string): Promise<void> {
    const { core, state } = this.#options;
    const view = state.view(name);
    const isWanted = view !== undefined && (view.network.defaultDeny || view.policies.length > 0);
    const vni = isWanted && (await this.#enforce(view)) ? view.network.vni : undefined;
    const enforced = this.#enforced.get(name);
    if (!enforced) return;
    for (const former of [...enforced.set.keys()]) {
      if (former === vni) continue;
      await core.removeNetworkPolicy(former);
      enforced.set.delete(former);
    }
    if (enforced.set.size === 0) this.#enforced.delete(name);
  }

  /** Whether there is something to enforce. What is not to be enforced any more is left to `settle`. */
  async #enforce(view: NetworkView): Promise<boolean> {
    const { core, node, log } = this.#options;
    const { name, vni } = view.network;
    const compiler = () => new NetworkCompiler(node, this.#inherited.get(vni));
    const enforced = this.#enforced.get(name) ?? { compiler: compiler(), set: new Map() };
    const compiled = enforced.compiler.compile(view);
    if (!compiled) return false;
    this.#enforced.set(name, enforced);
    const { policy } = compiled;
    const text = JSON.stringify(policy);
    if (enforced.set.get(policy.vni) === text) return true;
    const cut = await core.setNetworkPolicy(policy, JSON.stringify([...enforced.compiler.numbersWith(compiled)]));
    enforced.compiler.accept(compiled);
    enforced.set.set(policy.vni, text);
    const sizes = { identities: policy.identities.length, verdicts: policy.verdicts.length };
    log.info({ network: name, ...sizes, cut }, "policies are in force");
    return true;
  }
}

/** A note that cannot be read is another version's: its identities are then taken for unknown. */
function readNumbers(note: string): ReadonlyMap<string, number> {
  try {
    return new Map(JSON.parse(note) as [string, number][]);
  } catch {
    return new Map();
  }
}
