/** What a scenario is: servers that are started once on each network, and cases that are measured on them in rounds. */
import type { TwoNodes } from "../../configurations.js";
import type { AgentPids } from "../../leaks.js";
import type { MetricKey, Values } from "../metrics.js";
import type { Network, NetworkName, Server } from "../networks/network.js";

export interface Case {
  /** Unique within the scenario; letters, digits and hyphens. */
  readonly name: string;
  readonly title: string;
  /** The figure that ratios and plots are about. */
  readonly primary: MetricKey;
  /** Of what the scenario grows. */
  readonly size?: number;
  /** Too much for a run that is about function: the quick profile has it only if it is asked for by its name. */
  readonly isFullOnly?: boolean;
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
  /** What CPU time is divided by, at least one of them. */
  readonly work: { readonly operations?: number; readonly bytes?: number };
}

export interface Scenario {
  readonly name: string;
  readonly description: string;
  /** Programs that must be there; `tools/setup/packages.sh` knows the packages. */
  readonly programs: readonly string[];
  readonly cases: readonly Case[];
  /** Those that it says something about; all if left out. */
  readonly networks?: readonly NetworkName[];
  /**
   * Opens what grows from case to case, for all networks at once. The cases are then measured one after the other, each in
   * all rounds: growing takes long.
   */
  openGrowth?(site: Site): Promise<Growth>;
  /** Starts the servers. @param directory for its files; removed afterwards */
  open(network: Network, directory: string): Promise<OpenScenario>;
}

/** The cluster that the suite runs on. */
export interface Site {
  readonly nodes: TwoNodes;
  readonly agents: AgentPids;
  /** Of the controller's socket. */
  readonly controllerAddress: string;
  readonly signal: AbortSignal;
}

export interface Growth {
  /** Grows to a size; sizes come in ascending order. @returns what that much takes, by the network whose it is */
  reach(size: number): Promise<Partial<Record<NetworkName, Values>>>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface OpenScenario {
  /** In the order in which they were started. */
  readonly servers: readonly Server[];
  measure(name: string, effort: Effort): Promise<Measurement>;
}
