/** What happened lately in the cluster, as an operator would tell it: newest first. Pure. */
import type { ConnectionRecord, Node } from "@slimfast/proto";
import { isInbound, servicePort, verdictOf } from "../../live/filter.js";
import type { Resources } from "../../live/resource-table.js";
import { ports } from "../../ui/format.js";

export interface ClusterEvent {
  readonly key: string;
  readonly at: Date;
  readonly text: string;
  readonly isBad: boolean;
  readonly to: string;
  readonly search: Readonly<Record<string, string>>;
}

const SHOWN = 14;

/** What the times of creation tell. */
function creations({ nodes, networks, endpoints, policies, reservations }: Resources): ClusterEvent[] {
  const all = [
    ...nodes.map(({ name, createTime }) => ({ at: createTime, text: `node ${name} joined`, to: "/nodes", q: name })),
    ...networks.map(({ name, prefix, prefix6, createTime }) => ({
      at: createTime,
      text: `network ${name} (${prefix || prefix6}) was created`,
      to: "/networks",
      q: name,
    })),
    ...endpoints.map(({ name, node, createTime }) => ({
      at: createTime,
      text: `endpoint ${name} was attached on ${node}`,
      to: "/endpoints",
      q: name,
    })),
    ...policies.map(({ name, network, createTime }) => ({
      at: createTime,
      text: `policy ${network}/${name} was created`,
      to: "/policies",
      q: name,
    })),
    ...reservations
      .filter(({ name }) => name !== "")
      .map(({ name, node, ports: range, createTime }) => ({
        at: createTime,
        text: `${ports(range)} of ${node} were reserved as ${name}`,
        to: "/ports",
        q: name,
      })),
  ];
  return all.flatMap(({ at, text, to, q }) =>
    at ? [{ key: `${to} ${text}`, at, text, isBad: false, to, search: { q } }] : [],
  );
}

function refusals(records: readonly ConnectionRecord[]): ClusterEvent[] {
  return records.flatMap((record) => {
    const { connection: c, closeTime, error, id } = record;
    if (!c || !closeTime || error === "") return [];
    const isDenied = verdictOf(record) === "denied";
    const what = isDenied ? `was denied${c.policy === "" ? "" : ` by ${c.policy}`}` : `got ${error}`;
    const peer = c.peerEndpoint || c.peer?.address || "?";
    const [from, to] = isInbound(record) ? [peer, c.endpoint] : [c.endpoint, peer];
    const text = `${from} → ${to}:${servicePort(record)} ${what}`;
    return [{ key: id, at: closeTime, text, isBad: true, to: "/connections", search: { id } }];
  });
}

/** Nodes whose agents came or went between two looks. */
export function connectionChanges(before: readonly Node[], after: readonly Node[], at: Date): ClusterEvent[] {
  const known = new Map(before.map(({ name, connected }) => [name, connected]));
  return after.flatMap(({ name, connected }) => {
    const was = known.get(name);
    if (was === undefined || was === connected) return [];
    const text = connected ? `the agent of ${name} is back` : `the agent of ${name} is lost`;
    return [{ key: `${name} ${at.getTime()}`, at, text, isBad: !connected, to: "/nodes", search: { q: name } }];
  });
}

/** Repeated refusals are told once, with their number. */
function merged(events: readonly ClusterEvent[]): ClusterEvent[] {
  const byText = new Map<string, { event: ClusterEvent; times: number }>();
  for (const event of events) {
    const known = byText.get(event.text);
    if (!known) byText.set(event.text, { event, times: 1 });
    else byText.set(event.text, { event: known.event.at < event.at ? event : known.event, times: known.times + 1 });
  }
  return [...byText.values()].map(({ event, times }) =>
    times === 1 ? event : { ...event, text: `${event.text} (${times} times)` },
  );
}

export function recentEvents(
  resources: Resources,
  refused: readonly ConnectionRecord[],
  seen: readonly ClusterEvent[],
): ClusterEvent[] {
  return [...creations(resources), ...merged(refusals(refused)), ...seen]
    .sort((a, b) => b.at.getTime() - a.at.getTime())
    .slice(0, SHOWN);
}
