/** The part of the cluster's state that answers about connections need. */
import type { DecidingPolicy, Network, SelectableEndpoint } from "@slimfast/proto";
import type { StoreReader } from "../store/store.js";

export interface NodeView {
  readonly name: string;
  readonly frontPorts: { readonly first: number; readonly count: number };
  readonly isConnected: boolean;
  readonly endpoints: number;
}

export interface ClusterView {
  readonly networkCount: number;
  readonly endpointCount: number;
  nodes(): readonly NodeView[];
  network(name: string): Pick<Network, "name" | "defaultDeny"> | undefined;
  policies(network: string): readonly DecidingPolicy[];
  endpoint(network: string, name: string): (SelectableEndpoint & { readonly node: string }) | undefined;
}

/** The view of a store. Endpoints are counted again only after a change. */
export function storeView(store: StoreReader, isConnected: (node: string) => boolean): ClusterView {
  let counted: { readonly revision: bigint; readonly byNode: Map<string, number>; readonly all: number } | undefined;
  const counts = () => {
    if (counted?.revision === store.revision) return counted;
    const endpoints = store.listEndpoints({ limit: -1 });
    const byNode = new Map<string, number>();
    for (const { node } of endpoints) byNode.set(node, (byNode.get(node) ?? 0) + 1);
    counted = { revision: store.revision, byNode, all: endpoints.length };
    return counted;
  };
  return {
    get networkCount() {
      return store.listNetworks({ limit: -1 }).length;
    },
    get endpointCount() {
      return counts().all;
    },
    nodes: () => {
      const { byNode } = counts();
      return store.listNodes({ limit: -1 }).map(({ name, frontPorts }) => ({
        name,
        frontPorts,
        isConnected: isConnected(name),
        endpoints: byNode.get(name) ?? 0,
      }));
    },
    network: (name) => {
      const network = store.getNetwork(name);
      return network && { name, defaultDeny: false };
    },
    policies: () => [],
    endpoint: (network, name) => {
      const endpoint = store.getEndpoint(network, name);
      return endpoint && { ...endpoint, labels: { ...endpoint.labels } };
    },
  };
}
