/** Which connections are meant: one filter for rows in the browser and for the controller's own filters. Pure. */
import {
  ConnectionEventKind,
  type ConnectionRecord,
  Direction,
  formatIp,
  parseIp,
  Tier,
  Verdict,
} from "@slimfast/proto";

export const TIERS: readonly string[] = ["–", "notify", "preload"];
export const STATES: readonly string[] = ["", "live", "live", "closed", "refused"];

export interface ConnectionFilter {
  readonly network: string;
  readonly node: string;
  /** At either end: its name, or its overlay address. */
  readonly endpoint: string;
  /** At either end. */
  readonly port: string;
  readonly state: string;
  readonly verdict: string;
  readonly tier: string;
  /** Seconds. */
  readonly minAge: string;
  /** In one of the directions. */
  readonly minBytes: string;
}

export const NO_FILTER: ConnectionFilter = {
  network: "",
  node: "",
  endpoint: "",
  port: "",
  state: "",
  verdict: "",
  tier: "",
  minAge: "",
  minBytes: "",
};

export const FILTER_KEYS = Object.keys(NO_FILTER) as readonly (keyof ConnectionFilter)[];

export function verdictOf(record: ConnectionRecord): "allowed" | "denied" {
  return record.connection?.verdict === Verdict.VERDICT_DENIED || record.error === "EPERM" ? "denied" : "allowed";
}

export function tierOf(record: ConnectionRecord): string {
  return TIERS[record.connection?.tier ?? Tier.TIER_UNSPECIFIED] ?? "–";
}

export function isLive({ kind }: ConnectionRecord): boolean {
  return (
    kind === ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED ||
    kind === ConnectionEventKind.CONNECTION_EVENT_KIND_ACCEPTED
  );
}

export function isInbound({ connection }: ConnectionRecord): boolean {
  return connection?.direction === Direction.DIRECTION_INBOUND;
}

/** The port that somebody listens on, or should. */
export function servicePort(record: ConnectionRecord): number {
  return (isInbound(record) ? record.connection?.local : record.connection?.peer)?.port ?? 0;
}

export function ageMs({ openTime, closeTime }: ConnectionRecord, nowMs: number): number {
  return openTime ? Math.max(0, (closeTime?.getTime() ?? nowMs) - openTime.getTime()) : 0;
}

/** As records have it, however it was written; undefined for what is a name. */
function addressIn(text: string): string | undefined {
  const ip = parseIp(text);
  return ip && formatIp(ip);
}

/** Whether it is about this endpoint, at either end. */
function endpointMatcher(text: string): (connection: NonNullable<ConnectionRecord["connection"]>) => boolean {
  const ip = addressIn(text);
  return ip === undefined
    ? ({ endpoint, peerEndpoint }) => endpoint === text || peerEndpoint === text
    : ({ local, peer }) => local?.address === ip || peer?.address === ip;
}

export function isEmpty(filter: ConnectionFilter): boolean {
  return FILTER_KEYS.every((key) => filter[key] === "");
}

/** A record matches if it matches each field that is not empty. */
export function matcher(filter: ConnectionFilter, nowMs: number): (record: ConnectionRecord) => boolean {
  const isAbout = endpointMatcher(filter.endpoint);
  const port = Number(filter.port);
  const minAgeMs = Number(filter.minAge) * 1_000;
  const minBytes = Number(filter.minBytes);
  return (record) => {
    const { connection } = record;
    if (!connection) return false;
    if (filter.network !== "" && connection.network !== filter.network) return false;
    if (filter.node !== "" && connection.node !== filter.node) return false;
    if (filter.endpoint !== "" && !isAbout(connection)) return false;
    if (filter.port !== "" && connection.local?.port !== port && connection.peer?.port !== port) return false;
    if (filter.verdict !== "" && verdictOf(record) !== filter.verdict) return false;
    if (filter.tier !== "" && tierOf(record) !== filter.tier) return false;
    if (filter.state !== "" && STATES[record.kind] !== filter.state) return false;
    if (filter.minAge !== "" && ageMs(record, nowMs) < minAgeMs) return false;
    return filter.minBytes === "" || connection.bytesSent >= minBytes || connection.bytesReceived >= minBytes;
  };
}

function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("*", "\\*")}"`;
}

function endpointTerm(text: string): string {
  const ip = addressIn(text);
  const [field, peer] = ip === undefined ? ["endpoint", "peer_endpoint"] : ["local.address", "peer.address"];
  const value = quoted(ip ?? text);
  return `(connection.${field} = ${value} OR connection.${peer} = ${value})`;
}

function whole(text: string): number {
  const value = Math.trunc(Number(text));
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** The same for the controller (docs/api.md, Filters). */
export function serverFilter(filter: ConnectionFilter, nowMs: number): string {
  const { network, node, endpoint, port, state, verdict, tier, minAge, minBytes } = filter;
  const terms = [
    network && `connection.network = ${quoted(network)}`,
    node && `connection.node = ${quoted(node)}`,
    endpoint && endpointTerm(endpoint),
    port && `(connection.local.port = ${whole(port)} OR connection.peer.port = ${whole(port)})`,
    state === "live" && "(kind = opened OR kind = accepted)",
    state === "closed" && "kind = closed",
    state === "refused" && "kind = refused",
    verdict === "denied" && '(connection.verdict = denied OR error = "EPERM")',
    verdict === "allowed" && 'connection.verdict != denied AND error != "EPERM"',
    tier && `connection.tier = ${tier === "preload" ? "preload" : "notify"}`,
    minAge && `open_time <= ${new Date(nowMs - whole(minAge) * 1_000).toISOString()}`,
    minBytes && `(connection.bytes_sent >= ${whole(minBytes)} OR connection.bytes_received >= ${whole(minBytes)})`,
  ];
  return terms.filter((term) => term !== "" && term !== false).join(" AND ");
}

/** The values that a field has, the most frequent first. */
export function suggestions(
  records: readonly ConnectionRecord[],
  read: (record: ConnectionRecord) => string | undefined,
  limit = 20,
): string[] {
  const counts = new Map<string, number>();
  for (const record of records) {
    const value = read(record);
    if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, limit)
    .map(([value]) => value);
}
