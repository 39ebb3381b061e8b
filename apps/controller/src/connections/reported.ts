/** What an agent reports, checked before it is kept: bounded texts, the right node, nothing missing. Pure. */
import * as proto from "@slimfast/proto";
import { invalidField } from "../errors.js";
import { MAX_CONNECTION_TEXT_CHARS, MAX_COUNTER_NAME_CHARS, MAX_NODE_COUNTERS } from "./limits.js";

function checkText(text: string, field: string): void {
  if (text.length > MAX_CONNECTION_TEXT_CHARS) {
    throw invalidField(field, `has ${text.length} characters, at most ${MAX_CONNECTION_TEXT_CHARS} are allowed`);
  }
}

/** The connection as one of the node that reported it. */
export function checkedConnection(
  connection: proto.Connection | undefined,
  node: string,
  field: string,
): proto.Connection {
  if (!connection) throw invalidField(field, "is missing");
  for (const key of ["network", "endpoint", "peerEndpoint", "state", "policy"] as const)
    checkText(connection[key], field);
  for (const key of ["local", "peer", "underlayLocal", "underlayPeer"] as const) {
    checkText(connection[key]?.address ?? "", field);
  }
  // One string for all connections of the node, not one for each.
  connection.node = node;
  return connection;
}

export function checkedEvent(event: proto.ConnectionEvent, node: string, index: number): proto.ConnectionEvent {
  const { kind, error, time } = event;
  const isKnown = proto.ConnectionEventKind[kind] !== undefined && kind > 0;
  if (!isKnown) throw invalidField(`events[${index}].kind`, `${kind} is not a kind of event`);
  if (!time || Number.isNaN(time.getTime())) throw invalidField(`events[${index}].time`, "is missing");
  checkText(error, `events[${index}].error`);
  checkedConnection(event.connection, node, `events[${index}].connection`);
  return event;
}

export function checkedCounters(counters: Readonly<Record<string, bigint>>): readonly (readonly [string, bigint])[] {
  const entries = Object.entries(counters);
  if (entries.length > MAX_NODE_COUNTERS) {
    throw invalidField("counters", `has ${entries.length} entries, at most ${MAX_NODE_COUNTERS} are allowed`);
  }
  for (const [name] of entries) {
    if (!/^[a-z][a-z0-9_]*$/.test(name) || name.length > MAX_COUNTER_NAME_CHARS) {
      throw invalidField("counters", `${JSON.stringify(name.slice(0, 100))} is not the name of a counter`);
    }
  }
  return entries;
}
