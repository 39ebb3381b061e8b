/** Addresses of a network's endpoints within a transaction, and the subnets of its nodes. */
import { containsIp, formatIp, formatIpPrefix, type IpAddress, type IpFamily, type IpPrefix } from "@slimfast/proto";
import { endpointAddresses, knownPrefix } from "../domain/address-space.js";
import { type IntegerRange, lowestFreeSubnet, nextFree } from "../domain/allocation.js";
import type { NewEndpoint } from "../domain/requests/endpoint.js";
import { type Endpoint, endpointOwner, type Network, type NodeSubnet } from "../domain/resources.js";
import { ClusterError, invalidField } from "../errors.js";
import { MAX_CHOSEN_ADDRESSES } from "../limits.js";
import type { StoreTransaction } from "../store/store.js";

/** What a network says of one family. */
interface FamilyOfNetwork {
  readonly family: IpFamily;
  /** Empty: it has none. */
  readonly prefix: string;
  /** 0: its nodes have none. */
  readonly subnetLength: number;
}

/** The fields of an endpoint that its addresses are. */
const FIELDS: Readonly<Record<IpFamily, string>> = { 4: "endpoint.address", 6: "endpoint.address6" };

function familyOf(network: Network, family: IpFamily): FamilyOfNetwork {
  return family === 4
    ? { family, prefix: network.prefix, subnetLength: network.nodeSubnetLength }
    : { family, prefix: network.prefix6 ?? "", subnetLength: network.nodeSubnet6Length ?? 0 };
}

function subnetText(subnet: NodeSubnet | undefined, family: IpFamily): string {
  return (family === 4 ? subnet?.prefix : subnet?.prefix6) ?? "";
}

/**
 * The node's subnet of a network whose nodes have subnets; it gets one if it has none. When all are given out, one of a
 * node that has no endpoints in the network is taken back.
 */
function subnetOf(tx: StoreTransaction, network: Network, node: string, wanted: FamilyOfNetwork): IpPrefix {
  const { family, prefix, subnetLength } = wanted;
  const own = tx.getSubnet(network.name, node);
  const ownText = subnetText(own, family);
  if (ownText !== "") return knownPrefix(ownText);
  const given = tx.listSubnets(network.name).filter((subnet) => subnetText(subnet, family) !== "");
  const taken = given.map((subnet) => knownPrefix(subnetText(subnet, family)));
  let subnet = lowestFreeSubnet(knownPrefix(prefix), subnetLength, taken);
  if (!subnet) {
    const unused = given.find((other) => !tx.hasEndpoints(network.name, other.node));
    if (!unused) {
      throw new ClusterError(
        "resource_exhausted",
        `all ${given.length} node subnets of network ${network.name} (/${subnetLength} of ${prefix}) are in use: delete ` +
          "the endpoints of a node, or create a network with longer node subnets",
        { resource: { type: "network", name: network.name } },
      );
    }
    tx.delete("subnet", `${network.name}/${unused.node}`);
    subnet = knownPrefix(subnetText(unused, family));
  }
  const text = formatIpPrefix(subnet);
  const other = { prefix: own?.prefix ?? "", prefix6: own?.prefix6 ?? "" };
  const fields = family === 4 ? { ...other, prefix: text } : { ...other, prefix6: text };
  tx.put("subnet", { network: network.name, node, ...fields });
  return subnet;
}

/** The parts of an allocation: where from, and how that is called. */
interface Pool {
  readonly network: Network;
  readonly family: IpFamily;
  readonly first: bigint;
  readonly last: bigint;
  /** For people. */
  readonly where: string;
  /** Where its nodes have subnets. */
  readonly node: string | undefined;
}

function poolOf(tx: StoreTransaction, network: Network, node: string, wanted: FamilyOfNetwork): Pool {
  const whole = endpointAddresses(knownPrefix(wanted.prefix));
  const { family } = wanted;
  if (wanted.subnetLength === 0) return { ...whole, network, where: `network ${network.name}`, node: undefined };
  const part = subnetOf(tx, network, node, wanted);
  // Of a subnet every address can be given out, but for the first and the last of the whole network.
  const hasFirst = part.first < whole.first;
  const hasLast = part.last > whole.last;
  const first = hasFirst ? whole.first : part.first;
  const last = hasLast ? whole.last : part.last;
  return { network, family, first, last, where: `node ${node} in network ${network.name}`, node };
}

function requireAddress(tx: StoreTransaction, { network, where, ...range }: Pool, fixed: IpAddress): void {
  const { family } = fixed;
  const text = formatIp(fixed);
  if (!containsIp(range, fixed)) {
    const [first, last] = [range.first, range.last].map((value) => formatIp({ family, value }));
    throw invalidField(FIELDS[family], `${text} is not one of ${where}'s addresses, ${first} to ${last}`);
  }
  const holder = tx.getEndpointByAddress(network.name, fixed);
  if (!holder) return;
  const owner = endpointOwner(network.name, holder.name);
  throw new ClusterError("already_exists", `address ${text} of network ${network.name} is taken by ${owner}`, {
    resource: { type: "endpoint", name: `${network.name}/${holder.name}`, owner },
    fields: [{ field: FIELDS[family], description: `is taken by ${owner}` }],
  });
}

function chooseAddress(tx: StoreTransaction, pool: Pool): IpAddress {
  const { network, family, first, last, where, node } = pool;
  // Allocation counts in numbers: IPv4 addresses are numbers as they are, IPv6 addresses are counted from the pool's first.
  const base = family === 4 ? 0n : first;
  const size = last - first + 1n;
  const chosen = size < MAX_CHOSEN_ADDRESSES ? Number(size) : MAX_CHOSEN_ADDRESSES;
  const range: IntegerRange = { first: Number(first - base), last: Number(first - base) + chosen - 1 };
  const scope = { network: network.name, family, node };
  const number = nextFree(range, tx.addressCursor(scope, range), (from) =>
    numbersFrom(tx, network, { family, value: BigInt(from) + base }, base),
  );
  if (number === undefined) {
    throw new ClusterError(
      "resource_exhausted",
      `all ${chosen} addresses of ${where} (${familyOf(network, family).prefix}) are taken: delete endpoints, or create a ` +
        "network with a larger prefix",
      { resource: { type: "network", name: network.name } },
    );
  }
  tx.setAddressCursor(scope, number + 1);
  return { family, value: BigInt(number) + base };
}

function* numbersFrom(tx: StoreTransaction, network: Network, from: IpAddress, base: bigint): Iterable<number> {
  for (const value of tx.addressesFrom(network.name, from)) yield Number(value - base);
}

function takeAddress(
  tx: StoreTransaction,
  network: Network,
  node: string,
  family: IpFamily,
  fixed: IpAddress | undefined,
): string {
  const wanted = familyOf(network, family);
  if (wanted.prefix === "") {
    if (!fixed) return "";
    throw invalidField(
      FIELDS[family],
      `${formatIp(fixed)} cannot be had: network ${network.name} has no IPv${family} prefix`,
    );
  }
  const pool = poolOf(tx, network, node, wanted);
  if (!fixed) return formatIp(chooseAddress(tx, pool));
  requireAddress(tx, pool, fixed);
  return formatIp(fixed);
}

/** An address of each of the network's prefixes for a new endpoint: those that are wanted, or else free ones. */
export function takeAddresses(
  tx: StoreTransaction,
  network: Network,
  { node, address, address6 }: Pick<NewEndpoint, "node" | "address" | "address6">,
): Required<Pick<Endpoint, "address" | "address6">> {
  return {
    address: takeAddress(tx, network, node, 4, address),
    address6: takeAddress(tx, network, node, 6, address6),
  };
}
