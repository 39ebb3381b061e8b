/**
 * `slimfast connections` and `slimfast connection cut`. A cluster on this machine is asked by its agents, which read the
 * kernel's own sockets at that moment; a filter, closed ones or another machine's cluster are asked of the controller.
 */
import type { ControllerClient } from "@slimfast/client";
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventKind,
  type ConnectionRecord,
  Direction,
  MAX_LISTED_CONNECTIONS,
  type SocketAddress,
  Tier,
} from "@slimfast/proto";
import { requireCluster, withAgent } from "../cluster/access.js";
import type { NodePlan } from "../cluster/plan.js";
import { CliError, EXIT, messageOf } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatBytes, formatDuration, formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import { type RemoteOptions, remoteTarget } from "../remote/settings.js";
import { EVENT_KIND, VERDICT } from "../resources/enums.js";
import { formatTime, parseCount } from "../resources/values.js";

export interface ConnectionsOptions extends RemoteOptions {
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly filter?: string;
  readonly all?: boolean;
  readonly local?: boolean;
  readonly limit: string;
}

export async function connections(options: ConnectionsOptions): Promise<void> {
  const asksController = options.filter !== undefined || options.all === true || remoteTarget(options) !== null;
  if (asksController && options.local) {
    throw new CliError("usage", "--local is for this machine's agents: without --filter, --all and --server");
  }
  const limit = parseCount(options.limit, "--limit", 1, MAX_LISTED_CONNECTIONS);
  if (asksController) return clusterConnections(options, limit);
  const { nodes } = requireCluster().plan;
  const lists = await Promise.all(
    nodes.map((node) =>
      withAgent(node, async (agent) => ({ node, ...(await agent.local.listConnections({ atMost: limit })) })),
    ),
  );
  const live = lists.flatMap(({ connections }) => connections);
  for (const { node, connections, more } of lists) if (more) sayThereAreMore(node.name, connections.length);
  if (options.follow) return follow(nodes, live, options.json === true);
  if (options.json) printJson(live.map(describeConnection));
  else if (live.length === 0) printLine("No connections.");
  else printLine(formatTable(HEADER, live.map(row)));
}

function sayThereAreMore(where: string, shown: number): void {
  const remedy = shown < MAX_LISTED_CONNECTIONS ? "--limit shows more of them, --filter chooses" : "--filter chooses";
  process.stderr.write(`slimfast: ${where} has more than these ${shown} connections: ${remedy}\n`);
}

/** As the controller knows them, of the whole cluster. */
async function clusterConnections(options: ConnectionsOptions, limit: number): Promise<void> {
  const { filter = "", all = false, json = false } = options;
  await withCluster(options, async (controller) => {
    if (options.follow) return followCluster(controller, filter, json);
    const records: ConnectionRecord[] = [];
    for await (const record of controller.listAllConnectionRecords({ filter, includeClosed: all, pageSize: 1_000 })) {
      if (records.length === limit) {
        sayThereAreMore("the cluster", limit);
        break;
      }
      records.push(record);
    }
    if (json) printJson(records.map(describeRecord));
    else if (records.length === 0) printLine("No connections.");
    else printLine(formatTable(RECORD_HEADER, records.map(recordRow)));
  });
}

async function followCluster(controller: ControllerClient, filter: string, json: boolean): Promise<void> {
  const watch = watchInterrupts();
  try {
    for await (const item of controller.tailConnections({ filter, signal: watch.signal })) {
      if (item.type === "event") {
        const { connection, kind, error } = item.record;
        if (json) printJson(describeRecord(item.record));
        else if (connection) printEvent(EVENT_KIND.name(kind), connection, error, false);
      } else if (item.type === "lost") process.stderr.write(`slimfast: ${item.count} events lost\n`);
      else if (item.type === "interrupted") process.stderr.write(`slimfast: interrupted: ${messageOf(item.error)}\n`);
      else if (item.type === "resumed") {
        const between = `${item.lostFrom.toISOString()} and ${item.lostTo.toISOString()}`;
        process.stderr.write(`slimfast: it goes on; what happened between ${between} is not shown\n`);
      }
    }
  } catch (error) {
    if (!watch.signal.aborted) throw error;
  } finally {
    watch.close();
  }
}

/** `slimfast connection cut`. */
export async function cutConnection(id: string, options: RemoteOptions & { readonly json?: boolean }): Promise<void> {
  if (!/^[^/]+\/\d+$/.test(id)) {
    throw new CliError("usage", `${id} is no connection's id: NODE/COOKIE`, {
      remedy: "slimfast connections shows them in its first column",
    });
  }
  await withCluster(options, ({ operations }) => operations.cutConnection({ id }));
  if (options.json) printJson({ ok: true, id });
  else printLine(`Cut connection ${id}`);
}

const RECORD_HEADER = ["ID", "WHAT", "ENDPOINT", "", "LOCAL", "PEER", "TIER", "VERDICT", "SENT", "RECEIVED", "SINCE"];

function recordRow({ id, kind, connection, error, openTime, closeTime }: ConnectionRecord): string[] {
  const isLive = closeTime === undefined && error === "";
  return [
    id,
    isLive ? "live" : error === "" ? EVENT_KIND.name(kind) : error,
    connection?.endpoint ?? "-",
    connection?.direction === Direction.DIRECTION_INBOUND ? "<-" : "->",
    formatAddress(connection?.local),
    formatAddress(connection?.peer),
    connection ? tierName(connection.tier) : "-",
    connection ? verdictName(connection) : "-",
    formatBytes(connection?.bytesSent ?? 0n),
    formatBytes(connection?.bytesReceived ?? 0n),
    formatTime(openTime ?? closeTime),
  ];
}

/** The connection with what became of it around it: `kind`, `error` and `connection` as with --follow. */
function describeRecord({ id, kind, connection, error, openTime, closeTime }: ConnectionRecord) {
  return {
    id,
    kind: EVENT_KIND.name(kind),
    error,
    openTime,
    closeTime,
    connection: connection ? describeConnection(connection) : null,
  };
}

/** With the policy that decided. */
function verdictName({ verdict, policy }: Connection): string {
  const name = VERDICT.name(verdict);
  return policy === "" ? name : `${name} (${policy})`;
}

const HEADER = ["ID", "ENDPOINT", "", "LOCAL", "PEER", "UNDERLAY", "TIER", "STATE", "SENT", "RECEIVED", "RTT", "AGE"];

function row(connection: Connection): string[] {
  return [
    `${connection.node}/${connection.cookie}`,
    connection.endpoint,
    connection.direction === Direction.DIRECTION_INBOUND ? "<-" : "->",
    formatAddress(connection.local),
    formatAddress(connection.peer),
    `${formatAddress(connection.underlayLocal)} ${formatAddress(connection.underlayPeer)}`,
    tierName(connection.tier),
    connection.state,
    formatBytes(connection.bytesSent),
    formatBytes(connection.bytesReceived),
    `${connection.rttUs} us`,
    formatDuration(connection.durationUs),
  ];
}

/** As JSON shows it: enums by their short names. */
export function describeConnection(connection: Connection) {
  return {
    ...connection,
    direction: connection.direction === Direction.DIRECTION_INBOUND ? "inbound" : "outbound",
    tier: tierName(connection.tier),
    verdict: VERDICT.name(connection.verdict),
  };
}

async function follow(nodes: readonly NodePlan[], live: readonly Connection[], json: boolean): Promise<void> {
  const watch = watchInterrupts();
  for (const connection of live) printEvent("live", connection, "", json);
  const outcomes = await Promise.all(nodes.map((node) => followNode(node, watch.signal, json)));
  watch.close();
  if (outcomes.includes("lost")) process.exitCode = EXIT.failed;
}

/** Until `signal` is aborted, or the node's agent is lost. */
async function followNode(node: NodePlan, signal: AbortSignal, json: boolean): Promise<"ended" | "lost"> {
  let droppedBefore = 0n;
  try {
    await withAgent(node, async (agent) => {
      for await (const { events, dropped } of agent.local.watchConnectionEvents({}, { signal })) {
        for (const event of events) {
          if (event.connection) printEvent(eventName(event), event.connection, event.error, json);
        }
        if (dropped > droppedBefore) process.stderr.write(`slimfast: ${node.name}: ${dropped} events lost so far\n`);
        droppedBefore = dropped;
      }
    });
  } catch (error) {
    if (!signal.aborted) {
      process.stderr.write(`slimfast: ${node.name}: ${messageOf(error)}\n`);
      return "lost";
    }
  }
  return "ended";
}

function printEvent(kind: string, connection: Connection, error: string, json: boolean): void {
  if (json) {
    printJson({ kind, error, connection: describeConnection(connection) });
    return;
  }
  const arrow = connection.direction === Direction.DIRECTION_INBOUND ? "<-" : "->";
  const parts = [
    kind.padEnd(8),
    connection.node,
    connection.endpoint,
    `${formatAddress(connection.local)} ${arrow} ${formatAddress(connection.peer)}`,
    tierName(connection.tier),
  ];
  if (kind === "opened") parts.push(`setup ${connection.setupUs} us`);
  if (kind === "closed") {
    parts.push(`sent ${formatBytes(connection.bytesSent)}, received ${formatBytes(connection.bytesReceived)}`);
    parts.push(`after ${formatDuration(connection.durationUs)}, rtt ${connection.rttUs} us`);
  }
  if (error !== "") parts.push(error);
  printLine(parts.join("  "));
}

function eventName(event: ConnectionEvent): string {
  switch (event.kind) {
    case ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED:
      return "opened";
    case ConnectionEventKind.CONNECTION_EVENT_KIND_ACCEPTED:
      return "accepted";
    case ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED:
      return "closed";
    case ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED:
      return "refused";
    default:
      return "unknown";
  }
}

function tierName(tier: Tier): string {
  return tier === Tier.TIER_PRELOAD ? "preload" : tier === Tier.TIER_NOTIFY ? "notify" : "unknown";
}

export function formatAddress(address: SocketAddress | undefined): string {
  if (!address) return "-";
  return address.address.includes(":") ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`;
}
