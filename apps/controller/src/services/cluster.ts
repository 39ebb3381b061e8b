/**
 * What can be done with the cluster: each method is one checked transaction on the store.
 *
 * Knows nothing of gRPC. Arguments are validated here; errors are ClusterErrors. What a transaction does with a resource
 * is in the file of that resource. Distribution to the agents follows from the store's commits and is not called from
 * here.
 */
import { validEndpoint, type WantedEndpoint } from "../domain/requests/endpoint.js";
import { validNetwork, type WantedNetwork } from "../domain/requests/network.js";
import { type NodeChange, validNode, type WantedNode } from "../domain/requests/node.js";
import { validPolicy, type WantedPolicy } from "../domain/requests/policy.js";
import { validReservation, type WantedReservation } from "../domain/requests/reservation.js";
import type { Endpoint, Labels, Network, Node, Policy, PortReservation } from "../domain/resources.js";
import { type DurationMessage, validName, validRequestId } from "../domain/validation.js";
import { invalidField } from "../errors.js";
import type { Store } from "../store/store.js";
import {
  changedUnguarded,
  createEndpoint,
  endpointMask,
  requireEndpoint,
  type Unguarded,
  updateEndpoint,
} from "./endpoints.js";
import { createNetwork, deleteNetwork, networkMask, requireNetwork, updateNetwork } from "./networks.js";
import { deleteNode, nodeMask, type Presence, registerNode, requireNode, updateNode } from "./nodes.js";
import { createPolicy, deletePolicy, policyMask, requirePolicy, updatePolicy } from "./policies.js";
import { createOnce } from "./request-ids.js";
import {
  createReservation,
  deleteReservation,
  requireReservation,
  reservationMask,
  updateReservation,
} from "./reservations.js";

export type { Presence } from "./nodes.js";

export interface EndpointKey {
  readonly network: string;
  readonly name: string;
  readonly id: number;
}

/** A resource as an update has it: with the etag of what was read, or an empty one. */
type Update<Wanted> = Wanted & { readonly etag: string };

/** Paths of an update mask. */
type Paths = readonly string[] | undefined;

function given<Value>(field: string, value: Value | undefined): Value {
  if (value === undefined) throw invalidField(field, "must be set");
  return value;
}

export class Cluster {
  readonly #store: Store;
  readonly #presence: Presence;

  constructor(store: Store, presence: Presence) {
    this.#store = store;
    this.#presence = presence;
  }

  async createNetwork(wanted: WantedNetwork | undefined, requestId = ""): Promise<Network> {
    const network = validNetwork(wanted);
    const request = { kind: "network", id: validRequestId(requestId), wanted: network } as const;
    return await this.#store.transaction((tx) => createOnce(tx, request, () => createNetwork(tx, network)));
  }

  getNetwork(name: string): Network {
    return requireNetwork(this.#store, validName("name", name));
  }

  async updateNetwork(update: Update<WantedNetwork> | undefined, paths: Paths): Promise<Network> {
    const wanted = given("network", update);
    validName("network.name", wanted.name);
    const mask = networkMask(paths);
    return await this.#store.transaction((tx) => updateNetwork(tx, wanted, mask));
  }

  async deleteNetwork(name: string, etag = ""): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => deleteNetwork(tx, name, etag));
  }

  /** Creates the node, or changes it as its agent says. */
  async registerNode(wanted: WantedNode | undefined): Promise<Node> {
    const node = validNode(wanted);
    return await this.#store.transaction((tx) => registerNode(tx, node, this.#presence));
  }

  getNode(name: string): Node {
    return requireNode(this.#store, validName("name", name));
  }

  async updateNode(update: Update<NodeChange & { readonly name: string }> | undefined, paths: Paths): Promise<Node> {
    const wanted = given("node", update);
    validName("node.name", wanted.name);
    const mask = nodeMask(paths);
    return await this.#store.transaction((tx) => updateNode(tx, wanted, mask));
  }

  /** Forgets a node that is gone, with its endpoints and reservations. */
  async deleteNode(name: string, etag = ""): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => deleteNode(tx, name, etag, this.#presence));
  }

  async createEndpoint(wanted: WantedEndpoint | undefined): Promise<Endpoint> {
    const endpoint = validEndpoint(wanted);
    return await this.#store.transaction((tx) => createEndpoint(tx, endpoint));
  }

  /** A node says which of its endpoints have processes that may use io_uring. Idempotent. */
  async noteUnguarded(node: string, reported: readonly Unguarded[]): Promise<void> {
    if (changedUnguarded(this.#store, node, reported).length === 0) return;
    await this.#store.transaction((tx) => {
      for (const endpoint of changedUnguarded(tx, node, reported)) tx.updateEndpoint(endpoint);
    });
  }

  getEndpoint(network: string, name: string): Endpoint {
    return requireEndpoint(this.#store, validName("network", network), validName("name", name));
  }

  async updateEndpoint(
    update: Update<{ readonly network: string; readonly name: string; readonly labels: Labels }> | undefined,
    paths: Paths,
  ): Promise<Endpoint> {
    const wanted = given("endpoint", update);
    validName("endpoint.network", wanted.network);
    validName("endpoint.name", wanted.name);
    const mask = endpointMask(paths);
    return await this.#store.transaction((tx) => updateEndpoint(tx, wanted, mask));
  }

  /**
   * Deletes the endpoint; does nothing if there is none.
   *
   * @param id If not 0: only if it still has this id.
   */
  async deleteEndpoint(network: string, name: string, id: number): Promise<void> {
    validName("network", network);
    validName("name", name);
    await this.#store.transaction((tx) => {
      const endpoint = tx.getEndpoint(network, name);
      if (endpoint && (id === 0 || endpoint.id === id)) tx.deleteEndpoint(endpoint);
    });
  }

  /**
   * Deletes the node's endpoints that are not attached there, which a crashed agent left behind.
   *
   * @param isPending Endpoints whose creation has not been answered yet: their agent cannot name them.
   * @returns What was deleted.
   */
  async deleteStaleEndpoints(
    node: string,
    attached: readonly EndpointKey[],
    isPending: (endpoint: Endpoint) => boolean,
  ): Promise<Endpoint[]> {
    // Id 0: the agent awaits the answer to its creation.
    const kept = new Set(attached.map(({ network, name, id }) => `${network}/${name}/${id}`));
    return await this.#store.transaction((tx) => {
      const stale = tx.listEndpoints({ node, limit: -1 }).filter((endpoint) => {
        const name = `${endpoint.network}/${endpoint.name}`;
        return !kept.has(`${name}/${endpoint.id}`) && !kept.has(`${name}/0`) && !isPending(endpoint);
      });
      for (const endpoint of stale) tx.deleteEndpoint(endpoint);
      return stale;
    });
  }

  async createReservation(
    wanted: WantedReservation | undefined,
    lease: DurationMessage | undefined,
    requestId = "",
  ): Promise<PortReservation> {
    const reservation = validReservation(wanted, lease);
    const request = { kind: "reservation", id: validRequestId(requestId), wanted: reservation } as const;
    return await this.#store.transaction((tx) => createOnce(tx, request, () => createReservation(tx, reservation)));
  }

  getReservation(name: string): PortReservation {
    return requireReservation(this.#store, validName("name", name));
  }

  async updateReservation(
    update: Update<WantedReservation> | undefined,
    paths: Paths,
    lease: DurationMessage | undefined,
  ): Promise<PortReservation> {
    const wanted = given("port_reservation", update);
    validName("port_reservation.name", wanted.name);
    const mask = reservationMask(paths);
    return await this.#store.transaction((tx) => updateReservation(tx, wanted, mask, lease));
  }

  async deleteReservation(name: string, etag = ""): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => deleteReservation(tx, name, etag));
  }

  async createPolicy(wanted: WantedPolicy | undefined, requestId = ""): Promise<Policy> {
    const policy = validPolicy(wanted);
    const request = { kind: "policy", id: validRequestId(requestId), wanted: policy } as const;
    return await this.#store.transaction((tx) => createOnce(tx, request, () => createPolicy(tx, policy)));
  }

  getPolicy(network: string, name: string): Policy {
    return requirePolicy(this.#store, validName("network", network), validName("name", name));
  }

  async updatePolicy(update: Update<WantedPolicy> | undefined, paths: Paths): Promise<Policy> {
    const wanted = given("policy", update);
    validName("policy.network", wanted.network);
    validName("policy.name", wanted.name);
    const mask = policyMask(paths);
    return await this.#store.transaction((tx) => updatePolicy(tx, wanted, mask));
  }

  async deletePolicy(network: string, name: string, etag = ""): Promise<void> {
    validName("network", network);
    validName("name", name);
    await this.#store.transaction((tx) => deletePolicy(tx, network, name, etag));
  }
}
