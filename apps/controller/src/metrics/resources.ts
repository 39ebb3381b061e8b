/** How many resources of each kind a store has. */
import type { StoreReader } from "../store/store.js";

export function storeResources(store: StoreReader): Record<string, number> {
  return {
    node: store.count("node"),
    network: store.count("network"),
    endpoint: store.count("endpoint"),
    policy: store.count("policy"),
    // Those of operators; front and published ports follow from nodes and endpoints.
    port_reservation: store.count("reservation"),
    token: store.count("token"),
  };
}
