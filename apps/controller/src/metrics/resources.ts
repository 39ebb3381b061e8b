/** How many resources of each kind a store has. */
import type { StoreReader } from "../store/store.js";

export function storeResources(store: StoreReader): Record<string, number> {
  return {
    node: store.listNodes({ limit: -1 }).length,
    network: store.listNetworks({ limit: -1 }).length,
    endpoint: store.listEndpoints({ limit: -1 }).length,
    port_reservation: store.listReservations({ limit: -1 }).length,
  };
}
