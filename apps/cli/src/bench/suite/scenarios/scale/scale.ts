/**
 * Scenarios about cost that must stay flat: the time of connection setup, as `connect.1-client` measures it, while the
 * nodes have more and more of something else.
 */
import type { NetworkName } from "../../networks/network.js";
import { type OwnCase, ownScenario, setupCase } from "../connections.js";
import type { Growth, Scenario, Site } from "../scenario.js";
import { growConnections } from "./connections.js";
import { growEndpoints } from "./endpoints.js";
import { growTable } from "./table.js";

/** What grows is SlimFast's; the host's network is what it is compared with. */
const NETWORKS: readonly NetworkName[] = ["host", "slimfast-notify", "slimfast-preload"];

export const SCALE_CONNECTIONS = scenario("connections", {
  what: "connections between the nodes",
  sizes: [1, 1_000, 10_000, 100_000, 200_000],
  quick: 1_000,
  open: growConnections,
});
export const SCALE_ENDPOINTS = scenario("endpoints", {
  what: "endpoints on each node",
  sizes: [1, 10, 100, 1_000],
  quick: 10,
  open: growEndpoints,
});
export const SCALE_TABLE = scenario("table", {
  what: "endpoints of other nodes in the mapping table",
  sizes: [1, 1_000, 10_000, 100_000],
  quick: 1_000,
  open: growTable,
});

interface Axis {
  readonly what: string;
  /** Ascending. */
  readonly sizes: readonly number[];
  /** The largest size of the quick profile. */
  readonly quick: number;
  open(site: Site): Promise<Growth>;
}

function scenario(axis: string, { what, sizes, quick, open }: Axis): Scenario {
  const cases = sizes.map(
    (size): OwnCase => ({
      ...setupCase(1),
      name: String(size),
      title: `socket() and connect(); ${what}: ${size.toLocaleString("en-US")}`,
      size,
      isFullOnly: size > quick,
    }),
  );
  const own = ownScenario(`scale-${axis}`, `time of connection setup by the number of ${what}`, cases);
  return { ...own, networks: NETWORKS, openGrowth: open };
}
