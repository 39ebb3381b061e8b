/** ClusterService: messages in, use cases of the cluster, messages out. */
import * as proto from "@slimfast/proto";
import { endpointMessage, networkMessage, nodeMessage, reservationMessage } from "../messages.js";
import type { Store } from "../store/store.js";
import type { Cluster, Presence } from "./cluster.js";
import { cutPage, endpointAfter, nameAfter, pageLimit, reservationAfter } from "./paging.js";
import { withUnimplemented } from "./unimplemented.js";

export function clusterService(cluster: Cluster, store: Store, presence: Presence): proto.ClusterServiceImplementation {
  return withUnimplemented<proto.ClusterServiceImplementation>(proto.ClusterServiceDefinition, {
    async createNetwork({ network }) {
      return { network: networkMessage(await cluster.createNetwork(network)) };
    },

    async getNetwork({ name }) {
      return { network: networkMessage(cluster.getNetwork(name)) };
    },

    async listNetworks({ pageSize, pageToken }) {
      const limit = pageLimit(pageSize);
      const found = store.listNetworks({ ...nameAfter(pageToken), limit: limit + 1 });
      const { items, nextPageToken } = cutPage(found, limit, ({ name }) => [name]);
      return { networks: items.map(networkMessage), nextPageToken, revision: store.revision };
    },

    async deleteNetwork({ name }) {
      await cluster.deleteNetwork(name);
      return {};
    },

    async getNode({ name }) {
      return { node: nodeMessage(cluster.getNode(name), presence.isConnected(name)) };
    },

    async listNodes({ pageSize, pageToken }) {
      const limit = pageLimit(pageSize);
      const found = store.listNodes({ ...nameAfter(pageToken), limit: limit + 1 });
      const { items, nextPageToken } = cutPage(found, limit, ({ name }) => [name]);
      return {
        nodes: items.map((node) => nodeMessage(node, presence.isConnected(node.name))),
        nextPageToken,
        revision: store.revision,
      };
    },

    async deleteNode({ name }) {
      await cluster.deleteNode(name);
      return {};
    },

    async listEndpoints({ pageSize, pageToken, network, node }) {
      const limit = pageLimit(pageSize);
      const found = store.listEndpoints({ ...endpointAfter(pageToken), network, node, limit: limit + 1 });
      const { items, nextPageToken } = cutPage(found, limit, (endpoint) => [endpoint.network, endpoint.name]);
      return { endpoints: items.map(endpointMessage), nextPageToken, revision: store.revision };
    },

    async listPortReservations({ pageSize, pageToken, node }) {
      const limit = pageLimit(pageSize);
      const found = store.listReservations({ ...reservationAfter(pageToken), node, limit: limit + 1 });
      const { items, nextPageToken } = cutPage(found, limit, (reservation) => [
        reservation.node,
        reservation.ports.first,
      ]);
      return { portReservations: items.map(reservationMessage), nextPageToken, revision: store.revision };
    },
  });
}
