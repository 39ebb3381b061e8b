/** What tests of stores put into them: a node, a network, and endpoints of both. */
import type { StoreTransaction } from "../store/store.js";

export const NODE = {
  name: "node-1",
  underlayAddress: "10.200.0.1",
  frontPorts: { first: 7_100, count: 16 },
  state: "active",
  labels: {},
  agentVersion: "",
  createTimeMs: 1_700_000_000_000,
} as const;

export const NETWORK = {
  name: "blue",
  vni: 7,
  prefix: "10.32.0.0/16",
  description: "",
  labels: {},
  defaultDeny: false,
  nodeSubnetLength: 0,
  createTimeMs: 1_700_000_000_000,
};

export function insertEndpoint(tx: StoreTransaction, name: string, address: string) {
  return tx.insertEndpoint({
    network: "blue",
    name,
    node: "node-1",
    vni: 7,
    id: tx.takeEndpointId(7),
    address,
    publishedPorts: [{ hostPort: 8_080, endpointPort: 80 }],
    labels: { app: "web" },
    createTimeMs: 1_700_000_000_000,
  });
}
