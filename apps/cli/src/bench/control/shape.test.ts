import { describe, expect, it } from "vitest";
import {
  agentsOfNetworks,
  agentsOfPart,
  type ClusterShape,
  changedName,
  changeOf,
  endpointName,
  endpointPlaces,
  endpointsOfNetwork,
  networksOf,
  underlayAddress,
} from "./shape.js";

describe.each<ClusterShape>([
  { agents: 1_000, networks: 50, endpoints: 50_000, networksPerAgent: 1 },
  { agents: 60, networks: 7, endpoints: 1_000, networksPerAgent: 3 },
  { agents: 3, networks: 3, endpoints: 5, networksPerAgent: 9 },
])("a cluster of $agents agents in $networks networks", (shape) => {
  it("has endpoints only where their nodes are", () => {
    const places = [...endpointPlaces(shape)];
    expect(places).toHaveLength(shape.endpoints);
    const strays = places.filter(({ network, agent }) => !networksOf(agent, shape).includes(network));
    expect(strays).toEqual([]);
  });

  it("has its endpoints evenly", () => {
    const counts = new Map<number, number>();
    for (const { network } of endpointPlaces(shape)) counts.set(network, (counts.get(network) ?? 0) + 1);
    for (const [network, count] of counts) expect(count).toBe(endpointsOfNetwork(network, shape));
  });

  it("has a node in each network, and each node in as many as were asked for", () => {
    const agents = agentsOfNetworks(shape);
    expect(agents.every(({ length }) => length > 0)).toBe(true);
    const expected = shape.agents * Math.min(shape.networksPerAgent, shape.networks);
    expect(agents.reduce((sum, { length }) => sum + length, 0)).toBe(expected);
  });
});

it("every agent is in one of the parts, which are of one size", () => {
  const shape = { agents: 1_000, networks: 50, endpoints: 1_000, networksPerAgent: 1 };
  const parts = [0, 1, 2, 3].map((index) => agentsOfPart(shape, { index, of: 4 }));
  expect(parts.map(({ length }) => length)).toEqual([250, 250, 250, 250]);
  expect(new Set(parts.flat()).size).toBe(1_000);
});

it("tells the load's endpoints from the others", () => {
  expect(changeOf(changedName(17))).toBe(17);
  expect(changeOf(endpointName(17))).toBeUndefined();
});

it("gives each node an address of its own", () => {
  const addresses = Array.from({ length: 70_000 }, (_, agent) => underlayAddress(agent));
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(addresses[65_535]).toBe("172.17.0.0");
});
