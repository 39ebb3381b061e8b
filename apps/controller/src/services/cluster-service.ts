/** ClusterService: messages in, use cases of the cluster, messages out. */
import type * as proto from "@slimfast/proto";
import type { Node } from "../domain/resources.js";
import { validNameOrEmpty } from "../domain/validation.js";
import {
  endpointMessage,
  networkMessage,
  nodeStateOf,
  policyMessage,
  reservationMessage,
  wantedPolicy,
} from "../messages.js";
import type { Store } from "../store/store.js";
import type { Cluster, Presence } from "./cluster.js";
import { presentNode } from "./nodes.js";
import { listPage, NAME_KEY, NETWORK_AND_NAME_KEY, NODE_AND_PORT_KEY } from "./paging.js";
import type { WatchHub } from "./watch.js";

export interface ClusterServiceParts {
  readonly cluster: Cluster;
  readonly store: Store;
  readonly presence: Presence;
  readonly watches: WatchHub;
}

export function clusterService(parts: ClusterServiceParts): proto.ClusterServiceImplementation {
  return {
    ...networkMethods(parts),
    ...nodeMethods(parts),
    ...endpointMethods(parts),
    ...portMethods(parts),
    ...policyMethods(parts),
    watchResources: (request, context) => parts.watches.watch(request, context.signal),
  };
}

/** The options of a page behind a key; without the property if there is none. */
function behind<Key>(after: Key | undefined): { after?: Key } {
  return after === undefined ? {} : { after };
}

function networkMethods({ cluster, store }: ClusterServiceParts) {
  return {
    async createNetwork({ network, requestId }) {
      return { network: networkMessage(await cluster.createNetwork(network, requestId)) };
    },

    async getNetwork({ name }) {
      return { network: networkMessage(cluster.getNetwork(name)) };
    },

    async listNetworks(request) {
      const { messages, nextPageToken } = listPage(request, {
        type: "Network",
        scope: [],
        key: NAME_KEY,
        keyOf: ({ name }) => ({ name }),
        read: (after, limit) => store.listNetworks({ ...behind(after?.name), limit }),
        message: networkMessage,
      });
      return { networks: messages, nextPageToken, revision: store.revision };
    },

    async updateNetwork({ network, updateMask }) {
      return { network: networkMessage(await cluster.updateNetwork(network, updateMask)) };
    },

    async deleteNetwork({ name, etag }) {
      await cluster.deleteNetwork(name, etag);
      return {};
    },
  } satisfies Partial<proto.ClusterServiceImplementation>;
}

function nodeMethods({ cluster, store, presence }: ClusterServiceParts) {
  return {
    async getNode({ name }) {
      return { node: presentNode(cluster.getNode(name), presence) };
    },

    async listNodes(request) {
      const { messages, nextPageToken } = listPage(request, {
        type: "Node",
        scope: [],
        key: NAME_KEY,
        keyOf: ({ name }) => ({ name }),
        read: (after, limit) => store.listNodes({ ...behind(after?.name), limit }),
        message: (node: Node) => presentNode(node, presence),
      });
      return { nodes: messages, nextPageToken, revision: store.revision };
    },

    async updateNode({ node: wanted, updateMask }) {
      const update = wanted && { ...wanted, state: nodeStateOf(wanted.state) };
      const node = await cluster.updateNode(update, updateMask);
      return { node: presentNode(node, presence) };
    },

    async deleteNode({ name, etag }) {
      await cluster.deleteNode(name, etag);
      return {};
    },
  } satisfies Partial<proto.ClusterServiceImplementation>;
}

function endpointMethods({ cluster, store }: ClusterServiceParts) {
  return {
    async getEndpoint({ network, name }) {
      return { endpoint: endpointMessage(cluster.getEndpoint(network, name)) };
    },

    async listEndpoints(request) {
      const network = validNameOrEmpty("network", request.network);
      const node = validNameOrEmpty("node", request.node);
      const { messages, nextPageToken } = listPage(request, {
        type: "Endpoint",
        scope: [network, node],
        key: NETWORK_AND_NAME_KEY,
        keyOf: (endpoint) => ({ network: endpoint.network, name: endpoint.name }),
        read: (after, limit) => store.listEndpoints({ ...behind(after), network, node, limit }),
        message: endpointMessage,
      });
      return { endpoints: messages, nextPageToken, revision: store.revision };
    },

    async updateEndpoint({ endpoint, updateMask }) {
      return { endpoint: endpointMessage(await cluster.updateEndpoint(endpoint, updateMask)) };
    },
  } satisfies Partial<proto.ClusterServiceImplementation>;
}

function portMethods({ cluster, store }: ClusterServiceParts) {
  return {
    async createPortReservation({ portReservation, lease, requestId }) {
      return {
        portReservation: reservationMessage(await cluster.createReservation(portReservation, lease, requestId)),
      };
    },

    async getPortReservation({ name }) {
      return { portReservation: reservationMessage(cluster.getReservation(name)) };
    },

    async listPortReservations(request) {
      const node = validNameOrEmpty("node", request.node);
      const { messages, nextPageToken } = listPage(request, {
        type: "PortReservation",
        scope: [node],
        key: NODE_AND_PORT_KEY,
        keyOf: (reservation) => ({ node: reservation.node, first: reservation.ports.first }),
        read: (after, limit) => store.listReservations({ ...behind(after), node, limit }),
        message: reservationMessage,
      });
      return { portReservations: messages, nextPageToken, revision: store.revision };
    },

    async updatePortReservation({ portReservation, updateMask, lease }) {
      const updated = await cluster.updateReservation(portReservation, updateMask, lease);
      return { portReservation: reservationMessage(updated) };
    },

    async deletePortReservation({ name, etag }) {
      await cluster.deleteReservation(name, etag);
      return {};
    },
  } satisfies Partial<proto.ClusterServiceImplementation>;
}

function policyMethods({ cluster, store }: ClusterServiceParts) {
  return {
    async createPolicy({ policy, requestId }) {
      return { policy: policyMessage(await cluster.createPolicy(policy && wantedPolicy(policy), requestId)) };
    },

    async getPolicy({ network, name }) {
      return { policy: policyMessage(cluster.getPolicy(network, name)) };
    },

    async listPolicies(request) {
      const network = validNameOrEmpty("network", request.network);
      const { messages, nextPageToken } = listPage(request, {
        type: "Policy",
        scope: [network],
        key: NETWORK_AND_NAME_KEY,
        keyOf: (policy) => ({ network: policy.network, name: policy.name }),
        read: (after, limit) => store.listPolicies({ ...behind(after), network, limit }),
        message: policyMessage,
      });
      return { policies: messages, nextPageToken, revision: store.revision };
    },

    async updatePolicy({ policy, updateMask }) {
      const update = policy && { ...wantedPolicy(policy), etag: policy.etag };
      return { policy: policyMessage(await cluster.updatePolicy(update, updateMask)) };
    },

    async deletePolicy({ network, name, etag }) {
      await cluster.deletePolicy(network, name, etag);
      return {};
    },
  } satisfies Partial<proto.ClusterServiceImplementation>;
}
