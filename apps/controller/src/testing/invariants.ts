/** What must hold of a cluster whatever was asked of it, checked from outside: over the API. */

import type { Endpoint, Network, Node, Policy, PortReservation } from "@slimfast/proto";
import { containsIp, parseIp, parseIpPrefix } from "@slimfast/proto";
import { endpointAddresses } from "../domain/address-space.js";
import type { TestClient } from "./controller.js";

export interface ClusterState {
  readonly nodes: readonly Node[];
  readonly networks: readonly Network[];
  readonly endpoints: readonly Endpoint[];
  readonly policies: readonly Policy[];
  readonly reservations: readonly PortReservation[];
}

async function all<Item>(
  page: (pageToken: string) => Promise<{ items: Item[]; nextPageToken: string }>,
): Promise<Item[]> {
  const found: Item[] = [];
  let pageToken = "";
  do {
    const { items, nextPageToken } = await page(pageToken);
    found.push(...items);
    pageToken = nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** Nothing may change meanwhile. */
export async function readState({ cluster }: TestClient): Promise<ClusterState> {
  const pageSize = 1_000;
  return {
    nodes: await all(async (pageToken) => {
      const { nodes: items, nextPageToken } = await cluster.listNodes({ pageSize, pageToken });
      return { items, nextPageToken };
    }),
    networks: await all(async (pageToken) => {
      const { networks: items, nextPageToken } = await cluster.listNetworks({ pageSize, pageToken });
      return { items, nextPageToken };
    }),
    endpoints: await all(async (pageToken) => {
      const { endpoints: items, nextPageToken } = await cluster.listEndpoints({ pageSize, pageToken });
      return { items, nextPageToken };
    }),
    policies: await all(async (pageToken) => {
      const { policies: items, nextPageToken } = await cluster.listPolicies({ pageSize, pageToken });
      return { items, nextPageToken };
    }),
    reservations: await all(async (pageToken) => {
      const { portReservations: items, nextPageToken } = await cluster.listPortReservations({ pageSize, pageToken });
      return { items, nextPageToken };
    }),
  };
}

function* duplicates<Item>(items: readonly Item[], what: string, key: (item: Item) => string): Generator<string> {
  const seen = new Set<string>();
  for (const item of items) {
    const value = key(item);
    if (seen.has(value)) yield `${what} ${value} is given twice`;
    seen.add(value);
  }
}

/** Where the network has no prefix there must be no address. */
function isAddressOf(text: string, prefixText: string): boolean {
  if (prefixText === "") return text === "";
  const prefix = parseIpPrefix(prefixText);
  const address = parseIp(text);
  return typeof prefix !== "string" && address !== undefined && containsIp(endpointAddresses(prefix), address);
}

function* brokenEndpoints({ nodes, networks, endpoints, reservations }: ClusterState): Generator<string> {
  const nodeNames = new Set(nodes.map(({ name }) => name));
  const networksByName = new Map(networks.map((network) => [network.name, network]));
  const held = new Map(
    reservations.map((reservation) => [`${reservation.node}:${reservation.ports?.first}`, reservation]),
  );
  for (const { network, name, node, address, address6, vni, publishedPorts } of endpoints) {
    const owner = `endpoint/${network}/${name}`;
    const home = networksByName.get(network);
    if (!home) yield `${owner}: its network does not exist`;
    if (!nodeNames.has(node)) yield `${owner}: its node ${node} does not exist`;
    if (home && home.vni !== vni) yield `${owner}: VNI ${vni} is not that of its network`;
    if (!isAddressOf(address, home?.prefix ?? "")) yield `${owner}: address ${address} is not in ${home?.prefix}`;
    if (!isAddressOf(address6, home?.prefix6 ?? "")) yield `${owner}: address ${address6} is not in ${home?.prefix6}`;
    for (const { hostPort } of publishedPorts) {
      if (held.get(`${node}:${hostPort}`)?.owner !== owner) yield `${owner}: port ${hostPort} is not reserved for it`;
    }
  }
}

function* brokenReservations({ nodes, endpoints, reservations }: ClusterState): Generator<string> {
  const owners = new Set([
    ...nodes.map(({ name }) => `node/${name}`),
    ...endpoints.map(({ network, name }) => `endpoint/${network}/${name}`),
  ]);
  const lastByNode = new Map<string, { end: number; owner: string }>();
  const sorted = reservations.toSorted((one, other) => (one.ports?.first ?? 0) - (other.ports?.first ?? 0));
  for (const { node, ports, owner, name } of sorted) {
    const first = ports?.first ?? 0;
    const end = first + (ports?.count ?? 0);
    if (first < 1 || end > 65_536 || end <= first) yield `${owner}: ports ${first} to ${end - 1} make no sense`;
    const former = lastByNode.get(node);
    if (former && first < former.end) yield `${owner} and ${former.owner} have the same port of node ${node}`;
    lastByNode.set(node, { end: Math.max(end, former?.end ?? 0), owner });
    if (name === "" ? !owners.has(owner) : owner !== `reservation/${name}`)
      yield `${owner} holds ports and does not exist`;
    if (!nodes.some((other) => other.name === node)) yield `${owner}: its node ${node} does not exist`;
  }
  for (const { name } of nodes) {
    if (!reservations.some(({ owner }) => owner === `node/${name}`)) yield `node ${name} has no front ports reserved`;
  }
}

/** What is wrong; empty if nothing is. */
export function brokenInvariants(state: ClusterState): string[] {
  const { nodes, networks, endpoints, policies } = state;
  const networkNames = new Set(networks.map(({ name }) => name));
  return [
    ...duplicates(nodes, "underlay address", ({ underlayAddress }) => underlayAddress),
    ...duplicates(networks, "VNI", ({ vni }) => String(vni)),
    ...duplicates(
      endpoints.filter(({ address }) => address !== ""),
      "address",
      ({ network, address }) => `${network} ${address}`,
    ),
    ...duplicates(
      endpoints.filter(({ address6 }) => address6 !== ""),
      "address",
      ({ network, address6 }) => `${network} ${address6}`,
    ),
    ...duplicates(endpoints, "id", ({ network, id }) => `${network} ${id}`),
    ...brokenEndpoints(state),
    ...brokenReservations(state),
    ...policies
      .filter(({ network }) => !networkNames.has(network))
      .map(({ network, name }) => `policy ${network}/${name}: its network does not exist`),
  ];
}
