/** How each kind of resource is listed: which call, which columns, which JSON. One place, so that lists and watches agree. */
import type { ControllerClient } from "@slimfast/client";
import {
  type Endpoint,
  type Network,
  type Node,
  type Policy,
  type PortReservation,
  ResourceKind,
  type Token,
} from "@slimfast/proto";
import { NODE_STATE, POLICY_ACTION, PORT_PURPOSE, ROLE } from "./enums.js";
import { formatFamilies, formatLabels, formatPorts, formatSelector, formatTime } from "./values.js";

/** What a list may be limited to. */
export interface Selection {
  readonly filter?: string;
  readonly network?: string;
  readonly node?: string;
}

export interface View<Item> {
  /** For watches. */
  readonly kind: ResourceKind;
  /** Plural, for messages. */
  readonly plural: string;
  readonly header: readonly string[];
  list(controller: ControllerClient, selection: Selection): AsyncIterable<Item>;
  /** Unique in the list. */
  key(item: Item): string;
  /** Changes whenever what is shown may have changed. */
  version(item: Item): string;
  row(item: Item): (string | number)[];
  json(item: Item): object;
}

export const NODES: View<Node> = {
  kind: ResourceKind.RESOURCE_KIND_NODE,
  plural: "nodes",
  header: ["NODE", "UNDERLAY", "FRONT PORTS", "AGENT", "STATE", "VERSION", "LABELS", "OUT OF STEP"],
  list: (controller, { filter = "" }) => controller.listAllNodes({ filter }),
  key: ({ name }) => name,
  version: ({ revision, connected, syncError }) => `${revision} ${connected} ${syncError}`,
  row: (node) => [
    node.name,
    node.underlayAddress,
    formatPorts(node.frontPorts),
    node.connected ? "connected" : "GONE",
    NODE_STATE.name(node.state),
    node.agentVersion || "-",
    formatLabels(node.labels),
    node.syncError || "-",
  ],
  json: (node) => ({ ...node, state: NODE_STATE.name(node.state) }),
};

export const NETWORKS: View<Network> = {
  kind: ResourceKind.RESOURCE_KIND_NETWORK,
  plural: "networks",
  header: ["NETWORK", "VNI", "PREFIX", "DEFAULT", "EGRESS", "LABELS", "DESCRIPTION"],
  list: (controller, { filter = "" }) => controller.listAllNetworks({ filter }),
  key: ({ name }) => name,
  version: ({ revision }) => String(revision),
  row: ({ name, vni, prefix, prefix6, defaultDeny, egress, labels, description }) => [
    name,
    vni,
    formatFamilies(prefix, prefix6),
    defaultDeny ? "deny" : "allow",
    egress.join(",") || "-",
    formatLabels(labels),
    description || "-",
  ],
  json: (network) => network,
};

export const ENDPOINTS: View<Endpoint> = {
  kind: ResourceKind.RESOURCE_KIND_ENDPOINT,
  plural: "endpoints",
  header: ["ENDPOINT", "NETWORK", "NODE", "ADDRESS", "ID", "PUBLISHED", "LABELS", "IO_URING"],
  list: (controller, { filter = "", network = "", node = "" }) =>
    controller.listAllEndpoints({ filter, network, node }),
  key: ({ network, name }) => `${network}/${name}`,
  version: ({ revision, id }) => `${revision} ${id}`,
  row: (endpoint) => [
    endpoint.name,
    endpoint.network,
    endpoint.node,
    formatFamilies(endpoint.address, endpoint.address6),
    endpoint.id,
    endpoint.publishedPorts.map((port) => `${port.hostPort}:${port.endpointPort}`).join(",") || "-",
    formatLabels(endpoint.labels),
    endpoint.unguardedListeners === 0 ? "-" : `${endpoint.unguardedListeners} may use it`,
  ],
  json: (endpoint) => endpoint,
};

export const PORT_RESERVATIONS: View<PortReservation> = {
  kind: ResourceKind.RESOURCE_KIND_PORT_RESERVATION,
  plural: "port reservations",
  header: ["NODE", "PORTS", "PURPOSE", "OWNER", "EXPIRES", "DESCRIPTION"],
  list: (controller, { filter = "", node = "" }) => controller.listAllPortReservations({ filter, node }),
  key: ({ node, ports, name }) => (name === "" ? `${node}/${ports?.first}` : name),
  version: ({ revision }) => String(revision),
  row: (reservation) => [
    reservation.node,
    formatPorts(reservation.ports),
    PORT_PURPOSE.name(reservation.purpose),
    reservation.owner,
    formatTime(reservation.expireTime),
    reservation.description || "-",
  ],
  json: (reservation) => ({ ...reservation, purpose: PORT_PURPOSE.name(reservation.purpose) }),
};

export const POLICIES: View<Policy> = {
  kind: ResourceKind.RESOURCE_KIND_POLICY,
  plural: "policies",
  header: ["NETWORK", "POLICY", "ACTION", "FROM", "TO", "PORTS", "DESCRIPTION"],
  list: (controller, { filter = "", network = "" }) => controller.listAllPolicies({ filter, network }),
  key: ({ network, name }) => `${network}/${name}`,
  version: ({ revision }) => String(revision),
  row: (policy) => [
    policy.network,
    policy.name,
    POLICY_ACTION.name(policy.action),
    policy.from.map(formatSelector).join(" | "),
    policy.to.map(formatSelector).join(" | "),
    policy.ports.map(formatPorts).join(",") || "all",
    policy.description || "-",
  ],
  json: (policy) => ({ ...policy, action: POLICY_ACTION.name(policy.action) }),
};

export const TOKENS: Pick<View<Token>, "header" | "row" | "json"> = {
  header: ["TOKEN", "ROLE", "NETWORKS", "EXPIRES", "LAST USED", "USES LEFT", "DESCRIPTION"],
  row: (token) => [
    token.name,
    ROLE.name(token.role),
    token.networks.join(",") || "all",
    formatTime(token.expireTime),
    formatTime(token.lastUseTime),
    token.usesLeft === 0 ? "any" : String(token.usesLeft),
    token.description || "-",
  ],
  json: (token) => ({ ...token, role: ROLE.name(token.role) }),
};
