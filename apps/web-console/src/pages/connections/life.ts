/** What happened to a connection, in words: how its SYN was decided, by whose ports it came, who is at its other end. Pure. */
import type { ConnectionRecord, Endpoint, Node, PortReservation } from "@slimfast/proto";
import { isInbound, isLive } from "../../live/filter.js";
import { address } from "../../ui/format.js";

const REFUSALS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there: the peer's node answered the SYN with a reset",
  EHOSTUNREACH: "no endpoint has this address: connect(2) was refused before any packet",
  ENETUNREACH: "the address is outside of the network's egress ranges: connect(2) was refused before any packet",
  EPERM: "a policy denies it: connect(2) was refused before any packet",
  ETIMEDOUT: "the peer's node did not answer",
  ECONNRESET: "the peer reset it",
};

const isSame = (
  one: { readonly address: string; readonly port: number } | undefined,
  other: { readonly address: string; readonly port: number } | undefined,
): boolean => one !== undefined && other !== undefined && one.address === other.address && one.port === other.port;

function nodeAt(underlay: string | undefined, nodes: readonly Node[]): Node | undefined {
  return underlay === undefined ? undefined : nodes.find(({ underlayAddress }) => underlayAddress === underlay);
}

function isFrontPort(node: Node | undefined, port: number | undefined): boolean {
  const front = node?.frontPorts;
  return front !== undefined && port !== undefined && port >= front.first && port < front.first + front.count;
}

/** Where the kernel sent the SYN, or handed it, and why. */
export function synDecision(record: ConnectionRecord, nodes: readonly Node[]): string {
  const { connection: c, error } = record;
  if (!c) return "not known";
  if (error !== "") return `${error}: ${REFUSALS[error] ?? "the connection was not established"}`;
  const { local, peer, underlayLocal, underlayPeer } = c;
  if (isInbound(record)) {
    const node = nodes.find(({ name }) => name === c.node);
    return isFrontPort(node, underlayLocal?.port)
      ? `arrived at front port ${underlayLocal?.port} of ${c.node}; its option named ${address(local)}, so it was handed to the listener of ${c.endpoint}`
      : `arrived at port ${underlayLocal?.port ?? "?"} of ${c.node}, and was handed to the listener of ${c.endpoint} at ${address(local)}`;
  }
  const node = nodeAt(underlayPeer?.address, nodes);
  if (isFrontPort(node, underlayPeer?.port)) {
    return `connect(2) to ${address(peer)} was led to front port ${underlayPeer?.port} of ${node?.name}, where ${c.peerEndpoint || "that endpoint"} is`;
  }
  if (isSame(peer, underlayPeer)) return `left the overlay for ${address(peer)} as it is`;
  return `connect(2) to ${address(peer)} was led to ${address(underlayPeer)}`;
}

/** The reservation of the host port by which it came in; undefined if it came by none. */
export function reservationOf(
  { connection: c }: ConnectionRecord,
  nodes: readonly Node[],
  reservations: readonly PortReservation[],
): PortReservation | undefined {
  if (!c) return undefined;
  const isIn = c.direction === 2;
  const node = isIn ? c.node : nodeAt(c.underlayPeer?.address, nodes)?.name;
  const port = (isIn ? c.underlayLocal : c.underlayPeer)?.port ?? 0;
  return reservations.find(
    ({ node: its, ports }) =>
      its === node && ports !== undefined && port >= ports.first && port < ports.first + ports.count,
  );
}

/** The same connection as the node of the peer sees it. */
export function otherEnd(record: ConnectionRecord, records: readonly ConnectionRecord[]): ConnectionRecord | undefined {
  const { connection: c, openTime } = record;
  if (!c) return undefined;
  return records.find(
    ({ id, connection: other, closeTime }) =>
      id !== record.id &&
      other !== undefined &&
      other.network === c.network &&
      other.direction !== c.direction &&
      isSame(other.local, c.peer) &&
      isSame(other.peer, c.local) &&
      // Ports are used again: one that ended before this began is another connection.
      !(closeTime && openTime && closeTime < openTime),
  );
}

export interface Moment {
  readonly at: Date | undefined;
  readonly text: string;
}

/** From the SYN to the end. */
export function moments(record: ConnectionRecord, nodes: readonly Node[]): Moment[] {
  const { connection: c, openTime, closeTime, error } = record;
  if (!c) return [];
  const decision = {
    at: openTime && new Date(openTime.getTime() - c.setupUs / 1_000),
    text: `SYN: ${synDecision(record, nodes)}`,
  };
  if (error !== "") return [decision];
  const established = {
    at: openTime,
    text: isInbound(record) ? "accepted" : `established${c.setupUs > 0 ? `, ${c.setupUs} µs after the SYN` : ""}`,
  };
  const end = isLive(record) ? [] : [{ at: closeTime, text: "closed" }];
  return [decision, established, ...end];
}

/** Who will notice when it is cut. */
export function whatCutBreaks({ connection: c }: ConnectionRecord, endpoints: readonly Endpoint[]): string {
  if (!c) return "";
  const peer = endpoints.find(({ network, name }) => network === c.network && name === c.peerEndpoint);
  const who = peer ? `${peer.name} on ${peer.node}` : `the peer ${address(c.peer)}`;
  return `Both ends, ${c.endpoint} on ${c.node} and ${who}, see a reset; what is under way is lost. They may connect again at once: a policy is what keeps them apart.`;
}
