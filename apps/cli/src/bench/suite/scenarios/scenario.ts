/** What a scenario is: servers that are started once on each network, and cases that are measured on them in rounds. */
import type { MetricKey, Values } from "../metrics.js";
import type { Network, Server } from "../networks/network.js";

export interface Case {
  /** Unique within the scenario; letters, digits and hyphens. */
  readonly name: string;
  readonly title: string;
  /** The figure that ratios and plots are about. */
  readonly primary: MetricKey;
}

/** How long and how much. Scenarios take what applies to them. */
export interface Effort {
  /** Per case, network and round, for what runs for a time. */
  readonly seconds: number;
  /** Likewise, for what runs for a number of operations on one connection after the other. */
  readonly operations: number;
}

export interface Measurement {
  readonly values: Values;
  /** What CPU time is divided by. */
  readonly work: { readonly operations: number } | { readonly bytes: number };
}

export interface Scenario {
  readonly name: string;
  readonly description: string;
  /** Programs that must be there; `tools/setup/packages.sh` knows the packages. */
  readonly programs: readonly string[];
  readonly cases: readonly Case[];
  /** Starts the servers. @param directory for its files; removed afterwards */
  open(network: Network, directory: string): Promise<OpenScenario>;
}

export interface OpenScenario {
  /** In the order in which they were started. */
  readonly servers: readonly Server[];
  measure(name: string, effort: Effort): Promise<Measurement>;
}
