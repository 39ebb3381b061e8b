/** Numbers for a controller that is alone: counted, one after the other. */
import { ClusterError } from "../errors.js";
import { MAX_ENDPOINT_ID } from "../limits.js";
import { addressCounter, endpointIdCounter, type NumberSource } from "./transaction.js";

export function idsUsedUp(vni: number): ClusterError {
  return new ClusterError("resource_exhausted", `all endpoint ids of VNI ${vni} are used up: create another network`);
}

export const COUNTED_NUMBERS: NumberSource = {
  endpointId(tx, vni) {
    const name = endpointIdCounter(vni);
    const counter = tx.get("counter", name);
    if (!counter) throw new Error(`VNI ${vni} has no network`);
    if (counter.next > MAX_ENDPOINT_ID) throw idsUsedUp(vni);
    tx.put("counter", { name, next: counter.next + 1 });
    return counter.next;
  },

  addressCursor(tx, scope, { first }) {
    return tx.get("counter", addressCounter(scope))?.next ?? first;
  },

  setAddressCursor(tx, scope, next) {
    tx.put("counter", { name: addressCounter(scope), next });
  },
};
