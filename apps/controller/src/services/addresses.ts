/** Addresses of a network's endpoints within a transaction, and the subnets of its nodes. */
import { lowestFreeSubnet, nextFree } from "../domain/allocation.js";
import {
  type AddressRange,
  contains,
  endpointAddresses,
  formatIpv4,
  formatPrefix,
  type Prefix,
  parsePrefix,
} from "../domain/ipv4.js";
import { endpointOwner, type Network } from "../domain/resources.js";
import { ClusterError, invalidField } from "../errors.js";
import type { StoreTransaction } from "../store/store.js";

/** A prefix that was validated when it was stored. */
function storedPrefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (typeof prefix === "string") throw new Error(`stored prefix ${text} is ${prefix}`);
  return prefix;
}

/**
 * The node's subnet of a network whose nodes have subnets; it gets one if it has none. When all are given out, one of a
 * node that has no endpoints in the network is taken back.
 */
function subnetOf(tx: StoreTransaction, network: Network, node: string): Prefix {
  const own = tx.getSubnet(network.name, node);
  if (own) return storedPrefix(own.prefix);
  const given = tx.listSubnets(network.name);
  const taken = given.map(({ prefix }) => storedPrefix(prefix));
  let subnet = lowestFreeSubnet(storedPrefix(network.prefix), network.nodeSubnetLength, taken);
  if (!subnet) {
    const unused = given.find((other) => !tx.hasEndpoints(network.name, other.node));
    if (!unused) {
      throw new ClusterError(
        "resource_exhausted",
        `all ${given.length} node subnets of network ${network.name} (/${network.nodeSubnetLength} of ` +
          `${network.prefix}) are in use: delete the endpoints of a node, or create a network with longer node subnets`,
        { resource: { type: "network", name: network.name } },
      );
    }
    tx.delete("subnet", `${network.name}/${unused.node}`);
    subnet = storedPrefix(unused.prefix);
  }
  tx.put("subnet", { network: network.name, node, prefix: formatPrefix(subnet) });
  return subnet;
}

function requireAddress(
  tx: StoreTransaction,
  network: Network,
  range: AddressRange,
  where: string,
  fixed: number,
): void {
  const text = formatIpv4(fixed);
  if (!contains(range, fixed)) {
    const bounds = `${formatIpv4(range.first)} to ${formatIpv4(range.last)}`;
    throw invalidField("endpoint.address", `${text} is not one of ${where}'s addresses, ${bounds}`);
  }
  const holder = tx.getEndpointByAddress(network.name, fixed);
  if (!holder) return;
  const owner = endpointOwner(network.name, holder.name);
  throw new ClusterError("already_exists", `address ${text} of network ${network.name} is taken by ${owner}`, {
    resource: { type: "endpoint", name: `${network.name}/${holder.name}`, owner },
    fields: [{ field: "endpoint.address", description: `is taken by ${owner}` }],
  });
}

/**
 * An address for an endpoint on the node.
 *
 * @param fixed The one that is wanted; undefined: to be chosen.
 */
export function takeAddress(tx: StoreTransaction, network: Network, node: string, fixed: number | undefined): number {
  const hasSubnets = network.nodeSubnetLength !== 0;
  const whole = endpointAddresses(storedPrefix(network.prefix));
  const part = hasSubnets ? subnetOf(tx, network, node) : whole;
  // Of a subnet every address can be given out, but for the first and the last of the whole network.
  const range = { first: Math.max(part.first, whole.first), last: Math.min(part.last, whole.last) };
  const where = hasSubnets ? `node ${node} in network ${network.name}` : `network ${network.name}`;
  if (fixed !== undefined) {
    requireAddress(tx, network, range, where, fixed);
    return fixed;
  }
  const scope = hasSubnets ? `${network.name}/${node}` : network.name;
  const address = nextFree(range, tx.addressCursor(scope) ?? range.first, (from) =>
    tx.addressesFrom(network.name, from),
  );
  if (address === undefined) {
    throw new ClusterError(
      "resource_exhausted",
      `all ${range.last - range.first + 1} addresses of ${where} (${network.prefix}) are taken: delete endpoints, or ` +
        "create a network with a larger prefix",
      { resource: { type: "network", name: network.name } },
    );
  }
  tx.setAddressCursor(scope, address + 1);
  return address;
}
