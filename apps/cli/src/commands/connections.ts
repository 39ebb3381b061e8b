/** `slimfast connections`. */
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventKind,
  Direction,
  type SocketAddress,
  Tier,
} from "@slimfast/proto";
import { requireCluster, withAgent } from "../cluster/access.js";
import type { NodePlan } from "../cluster/plan.js";
import { EXIT, messageOf } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatBytes, formatDuration, formatTable, printJson, printLine } from "../output.js";

export async function connections(options: { readonly follow?: boolean; readonly json?: boolean }): Promise<void> {
  const { nodes } = requireCluster().plan;
  const lists = await Promise.all(
    nodes.map((node) => withAgent(node, async (agent) => (await agent.local.listConnections({})).connections)),
  );
  const live = lists.flat();
  if (options.follow) return follow(nodes, live, options.json === true);
  if (options.json) printJson(live.map(describeConnection));
  else if (live.length === 0) printLine("No connections.");
  else printLine(formatTable(HEADER, live.map(row)));
}

const HEADER = ["NODE", "ENDPOINT", "", "LOCAL", "PEER", "UNDERLAY", "TIER", "STATE", "SENT", "RECEIVED", "RTT", "AGE"];

function row(connection: Connection): string[] {
  return [
    connection.node,
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
