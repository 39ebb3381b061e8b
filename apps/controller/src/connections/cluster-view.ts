/** The part of the cluster's state that answers about connections need. */
import { type DecidingPolicy, type Network, PolicyAction, type SelectableEndpoint } from "@slimfast/proto";
import type { EndpointSelector, Policy } from "../domain/resources.js";
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

function selectorMessage({ labels, prefix, endpoint }: EndpointSelector): DecidingPolicy["from"][number] {
  return { labels: { ...labels }, prefix, endpoint };
}

function decidingPolicy({ name, network, action, from, to, ports }: Policy): DecidingPolicy {
  return {
    name,
    network,
    action: action === "allow" ? PolicyAction.POLICY_ACTION_ALLOW : PolicyAction.POLICY_ACTION_DENY,
    from: from.map(selectorMessage),
    to: to.map(selectorMessage),
    ports: ports.map((range) => ({ ...range })),
  };
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
      return store.count("network");
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
      return network && { name, defaultDeny: network.defaultDeny };
    },
    policies: (network) => store.listPolicies({ network, limit: -1 }).map(decidingPolicy),
    endpoint: (network, name) => {
      const endpoint = store.getEndpoint(network, name);
      return endpoint && { ...endpoint, labels: { ...endpoint.labels } };
    },
  };
}
