/**
 * The cluster that `bench control` measures: how many nodes, networks and endpoints, and who has what. Pure, so that every
 * process of the benchmark knows the same cluster by its numbers alone.
 */

export interface ClusterShape {
  readonly agents: number;
  readonly networks: number;
  readonly endpoints: number;
  /** Networks in which each node has endpoints. */
  readonly networksPerAgent: number;
}

/** What the benchmark asks for, with units in the names. */
export interface Load {
  readonly changesPerSecond: number;
  readonly seconds: number;
  /** Nodes that join one after the other while the changes go on. */
  readonly joins: number;
  /** Processes that are the agents. */
  readonly generators: number;
}

export interface EndpointPlace {
  readonly network: number;
  readonly agent: number;
}

/** One of the processes that are the agents: its number, and how many there are. */
export interface Part {
  readonly index: number;
  readonly of: number;
}

/** Distances between the networks of one node, so that neighbours do not share all of theirs. */
const STRIDE = 7;

export function nodeName(agent: number): string {
  return `node-${agent}`;
}

export function networkName(network: number): string {
  return `net-${network}`;
}

export function endpointName(endpoint: number): string {
  return `ep-${endpoint}`;
}

/** An endpoint that the load creates and deletes again. */
export function changedName(change: number): string {
  return `change-${change}`;
}

/** Which change an endpoint is of, if it is of one. */
export function changeOf(name: string): number | undefined {
  return name.startsWith("change-") ? Number(name.slice("change-".length)) : undefined;
}

/** 172.16.0.0/12 has room for a million. */
export function underlayAddress(agent: number): string {
  const host = agent + 1;
  return `172.${16 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
}

/** A /14 for each, so that no size of a network is refused. */
export function networkPrefix(): string {
  return "10.32.0.0/14";
}

export function networksOf(agent: number, { networks, networksPerAgent }: ClusterShape): number[] {
  const found = new Set<number>();
  for (let index = 0; found.size < Math.min(networksPerAgent, networks); index += 1) {
    found.add((agent + index * STRIDE + Math.floor((index * STRIDE) / networks)) % networks);
  }
  return [...found];
}

/** The nodes of each network. */
export function agentsOfNetworks(shape: ClusterShape): number[][] {
  const agents: number[][] = Array.from({ length: shape.networks }, () => []);
  for (let agent = 0; agent < shape.agents; agent += 1) {
    for (const network of networksOf(agent, shape)) agents[network]?.push(agent);
  }
  return agents;
}

export function agentsOfPart({ agents }: ClusterShape, { index, of }: Part): number[] {
  return Array.from({ length: agents }, (_, agent) => agent).filter((agent) => agent % of === index);
}

/** The endpoints evenly over the networks, and in each over its nodes. */
export function* endpointPlaces(shape: ClusterShape): Generator<EndpointPlace> {
  const agents = agentsOfNetworks(shape);
  for (let endpoint = 0; endpoint < shape.endpoints; endpoint += 1) {
    const network = endpoint % shape.networks;
    const own = agents[network] ?? [];
    const agent = own[Math.floor(endpoint / shape.networks) % own.length];
    if (agent === undefined) throw new RangeError(`network ${network} has no node`);
    yield { network, agent };
  }
}

/** How many endpoints each network has. */
export function endpointsOfNetwork(network: number, { endpoints, networks }: ClusterShape): number {
  return Math.floor(endpoints / networks) + (network < endpoints % networks ? 1 : 0);
}
