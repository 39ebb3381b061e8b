/** The connections that the page knows: live ones and those that ended lately, by id, newest first. Pure but for time. */
import { ConnectionEventKind, type ConnectionRecord, Tier, Verdict } from "@slimfast/proto";

/** More are forgotten, the oldest first. */
export const MAX_ROWS = 100_000;

export class ConnectionTable {
  readonly #byId = new Map<string, ConnectionRecord>();
  #sorted: readonly ConnectionRecord[] | undefined;

  get size(): number {
    return this.#byId.size;
  }

  apply(records: readonly ConnectionRecord[]): void {
    for (const record of records) {
      const known = this.#byId.get(record.id);
      if (known) this.#byId.delete(record.id);
      this.#byId.set(record.id, record);
    }
    for (const id of this.#byId.keys()) {
      if (this.#byId.size <= MAX_ROWS) break;
      this.#byId.delete(id);
    }
    this.#sorted = undefined;
  }

  clear(): void {
    this.#byId.clear();
    this.#sorted = undefined;
  }

  get newestFirst(): readonly ConnectionRecord[] {
    this.#sorted ??= [...this.#byId.values()].reverse();
    return this.#sorted;
  }
}

export const TIERS: readonly string[] = ["–", "notify", "preload"];
export const STATES: readonly string[] = ["", "live", "live", "closed", "refused"];

export function verdictOf(record: ConnectionRecord): string {
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

export interface ConnectionFilter {
  readonly network: string;
  readonly node: string;
  readonly endpoint: string;
  readonly port: string;
  readonly verdict: string;
  readonly tier: string;
  readonly state: string;
  /** Seconds. */
  readonly minAge: string;
  readonly minBytes: string;
}

export const NO_FILTER: ConnectionFilter = {
  network: "",
  node: "",
  endpoint: "",
  port: "",
  verdict: "",
  tier: "",
  state: "",
  minAge: "",
  minBytes: "",
};

/** A record matches if it matches each field that is not empty. */
export function matcher(filter: ConnectionFilter, nowMs: number): (record: ConnectionRecord) => boolean {
  const port = Number(filter.port);
  const minAgeMs = Number(filter.minAge) * 1_000;
  const minBytes = Number(filter.minBytes);
  return (record) => {
    const { connection } = record;
    if (!connection) return false;
    if (filter.network !== "" && connection.network !== filter.network) return false;
    if (filter.node !== "" && connection.node !== filter.node) return false;
    if (
      filter.endpoint !== "" &&
      connection.endpoint !== filter.endpoint &&
      connection.peerEndpoint !== filter.endpoint
    )
      return false;
    if (filter.port !== "" && connection.local?.port !== port && connection.peer?.port !== port) return false;
    if (filter.verdict !== "" && verdictOf(record) !== filter.verdict) return false;
    if (filter.tier !== "" && tierOf(record) !== filter.tier) return false;
    if (filter.state !== "" && STATES[record.kind] !== filter.state) return false;
    if (filter.minAge !== "" && ageMs(record, nowMs) < minAgeMs) return false;
    return filter.minBytes === "" || Number(connection.bytesSent + connection.bytesReceived) >= minBytes;
  };
}

export function ageMs({ openTime, closeTime }: ConnectionRecord, nowMs: number): number {
  return openTime ? (closeTime?.getTime() ?? nowMs) - openTime.getTime() : 0;
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
