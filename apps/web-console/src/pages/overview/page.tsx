/** The cluster at a glance. */
import {
  type ConnectionRecord,
  type NodeOverview,
  type SetupTimes,
  Tier,
  type WatchOverviewResponse,
} from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { TIERS } from "../../live/filter.js";
import { useResources } from "../../live/resources.js";
import { controller } from "../../live/session.js";
import { useStream } from "../../live/streams.js";
import { Time } from "../../ui/clock.js";
import { numberColumn, RATE_COLUMNS } from "../../ui/columns.js";
import { count, microseconds, rate } from "../../ui/format.js";
import { Table } from "../../ui/table.js";
import { type ClusterEvent, connectionChanges, recentEvents } from "./events.js";
import { Series } from "./series.js";

/** Snapshots, one a second. */
const HISTORY = 120;
const REFUSED_KEPT = 50;
const REFUSED = "kind = refused";

export function OverviewPage() {
  const [history, setHistory] = useState<readonly WatchOverviewResponse[]>([]);
  useStream("", {
    name: "overview",
    silenceMs: 5_000,
    open: (signal) => controller.operations.watchOverview({}, { signal }),
    onMessage: (snapshot) => setHistory((old) => [...old.slice(1 - HISTORY), snapshot]),
  });
  const { reservations } = useResources();
  const reservedPorts = reservations.reduce((sum, { ports }) => sum + (ports?.count ?? 0), 0);
  const now = history.at(-1);
  if (!now) return <p className="empty">Loading …</p>;
  const times = history.map(({ time }) => (time?.getTime() ?? 0) / 1_000);
  const percentile = (tier: Tier, read: "p50Us" | "p99Us") =>
    history.map(({ setupTimes }) => setupTimes.find((each) => each.tier === tier)?.[read] ?? null);
  return (
    <>
      <div className="row head">
        <h1 className="grow">Overview</h1>
      </div>
      <Cards now={now} reserved={reservedPorts} />
      <div className="columns">
        <section className="panel">
          <h2>Connections per second</h2>
          <Series
            label="Opened, and refused or denied connections per second, of the last two minutes"
            times={times}
            height={252}
            format={rate}
            lines={[
              { title: "opened", color: "--c1", values: history.map(({ openedPerSecond }) => openedPerSecond) },
              { title: "refused", color: "--c2", values: history.map(({ refusedPerSecond }) => refusedPerSecond) },
              { title: "denied", color: "--c4", values: history.map(({ deniedPerSecond }) => deniedPerSecond) },
            ]}
          />
        </section>
        <section className="panel">
          <h2>Setup time by tier</h2>
          <Series
            label="Setup times of outbound connections by tier, of the last two minutes"
            times={times}
            height={140}
            format={microseconds}
            lines={[
              { title: "notify p50", color: "--c1", values: percentile(Tier.TIER_NOTIFY, "p50Us") },
              { title: "notify p99", color: "--c5", values: percentile(Tier.TIER_NOTIFY, "p99Us") },
              { title: "preload p50", color: "--c3", values: percentile(Tier.TIER_PRELOAD, "p50Us") },
              { title: "preload p99", color: "--c2", values: percentile(Tier.TIER_PRELOAD, "p99Us") },
            ]}
          />
          <Table<SetupTimes>
            label="Setup times"
            orderKey="setup"
            items={now.setupTimes.filter((each) => each.count > 0)}
            keyOf={({ tier }) => String(tier)}
            empty="No connection was made from a container in the last 10 s."
            columns={[
              { title: "Tier, last 10 s", cell: ({ tier }) => TIERS[tier] },
              numberColumn("Count", (each) => each.count),
              numberColumn("p50", ({ p50Us }) => p50Us, microseconds),
              numberColumn("p90", ({ p90Us }) => p90Us, microseconds),
              numberColumn("p99", ({ p99Us }) => p99Us, microseconds),
            ]}
          />
        </section>
      </div>
      <div className="columns">
        <NodesPanel now={now} />
        <RecentEvents />
      </div>
    </>
  );
}

function Cards({ now, reserved }: { readonly now: WatchOverviewResponse; readonly reserved: number }) {
  const isWhole = now.nodesConnected === now.nodes;
  const cards: readonly { title: string; value: string; unit?: string; style?: string; to: string; search?: object }[] =
    [
      {
        title: "Nodes connected",
        value: `${now.nodesConnected} of ${now.nodes}`,
        style: isWhole ? "ok" : "bad",
        to: "/nodes",
      },
      { title: "Networks", value: count(now.networks), to: "/networks" },
      { title: "Endpoints", value: count(now.endpoints), to: "/endpoints" },
      { title: "Reserved host ports", value: count(reserved), to: "/ports" },
      {
        title: "Live connections",
        value: count(now.liveConnections),
        unit: "ends",
        to: "/connections",
        search: { state: "live" },
      },
      { title: "Opened", value: rate(now.openedPerSecond), to: "/connections" },
      { title: "Closed", value: rate(now.closedPerSecond), to: "/connections", search: { state: "closed" } },
      {
        title: "Refused",
        value: rate(now.refusedPerSecond),
        style: now.refusedPerSecond > 0 ? "warn" : "",
        to: "/connections",
        search: { state: "refused" },
      },
      {
        title: "Denied by policy",
        value: rate(now.deniedPerSecond),
        style: now.deniedPerSecond > 0 ? "bad" : "",
        to: "/connections",
        search: { verdict: "denied" },
      },
      {
        title: "Events dropped",
        value: count(now.droppedEvents),
        unit: "since start",
        style: now.droppedEvents > 0n ? "warn" : "",
        to: "/connections",
      },
    ];
  return (
    <section className="cards" aria-label="Totals">
      {cards.map(({ title, value, unit, style, to, search }) => (
        <Link className="panel card" key={title} to={to} search={(search ?? {}) as never}>
          <span className="dim">{title}</span>
          <span className={`value ${style ?? ""}`}>
            {value} {unit ? <span className="unit">{unit}</span> : null}
          </span>
        </Link>
      ))}
    </section>
  );
}

function NodesPanel({ now }: { readonly now: WatchOverviewResponse }) {
  return (
    <section className="panel">
      <h2>Nodes</h2>
      <Table<NodeOverview>
        label="Nodes"
        orderKey="nodes"
        items={now.nodeOverviews}
        keyOf={({ node }) => node}
        empty="No node yet. A node appears here when its agent starts: slimfast node join-command"
        columns={[
          {
            title: "Node",
            cell: ({ node }) => (
              <Link to="/connections" search={{ node } as never}>
                {node}
              </Link>
            ),
            sortBy: ({ node }) => node,
          },
          {
            title: "Agent",
            cell: ({ connected }) => (
              <span className={`badge ${connected ? "ok" : "bad"}`}>{connected ? "connected" : "lost"}</span>
            ),
          },
          numberColumn("Endpoints", ({ endpoints }) => endpoints),
          ...RATE_COLUMNS,
          {
            title: "Front ports",
            cell: ({ node, frontPortConnections }) => <FrontPorts node={node} counts={frontPortConnections} />,
          },
        ]}
      />
    </section>
  );
}

/** One bar for each front port, as high as its share of the busiest. */
function FrontPorts({ node, counts }: { readonly node: string; readonly counts: readonly number[] }) {
  const { nodes } = useResources();
  const first = nodes.find(({ name }) => name === node)?.frontPorts?.first ?? 0;
  const most = Math.max(1, ...counts);
  const all = counts.reduce((sum, each) => sum + each, 0);
  return (
    <svg
      className="bars"
      viewBox={`0 0 ${counts.length * 8} 24`}
      role="img"
      aria-label={`${all} live inbound connections over ${counts.length} front ports, ${Math.max(0, ...counts)} at the busiest`}
    >
      {counts.map((each, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the place is what each bar stands for
        <g key={index}>
          <title>{`port ${first + index}: ${each} live`}</title>
          <rect className="bar-bg" x={index * 8} y="0" width="6" height="24" />
          <rect className="bar" x={index * 8} y={24 - (each / most) * 24} width="6" height={(each / most) * 24} />
        </g>
      ))}
    </svg>
  );
}

function RecentEvents() {
  const resources = useResources();
  const [refused, setRefused] = useState<readonly ConnectionRecord[]>([]);
  const [seen, setSeen] = useState<readonly ClusterEvent[]>([]);
  const before = useRef(resources.nodes);
  useEffect(() => {
    const changes = connectionChanges(before.current, resources.nodes, new Date());
    before.current = resources.nodes;
    if (changes.length > 0) setSeen((old) => [...changes, ...old].slice(0, REFUSED_KEPT));
  }, [resources.nodes]);
  useStream("", {
    name: "refusals",
    silenceMs: 30_000,
    open: async function* (signal) {
      const { connections } = await controller.operations.listConnectionRecords(
        { filter: REFUSED, includeClosed: true, pageSize: REFUSED_KEPT },
        { signal },
      );
      yield { events: connections.reverse() };
      yield* controller.operations.tailConnections({ filter: REFUSED }, { signal });
    },
    onMessage: ({ events }) => {
      if (events.length > 0) setRefused((old) => merge(old, events));
    },
  });
  const events = recentEvents(resources, refused, seen);
  return (
    <section className="panel">
      <h2>Recent events</h2>
      {events.length === 0 ? <p className="empty">Nothing happened yet.</p> : null}
      <ul className="events">
        {events.map(({ key, at, text, isBad, to, search }) => (
          <li key={key}>
            <Link to={to} search={search as never} className={isBad ? "bad" : undefined}>
              {text}
            </Link>
            <small className="dim">
              <Time at={at} />
            </small>
          </li>
        ))}
      </ul>
    </section>
  );
}

function merge(old: readonly ConnectionRecord[], events: readonly ConnectionRecord[]): readonly ConnectionRecord[] {
  const known = new Set(old.map(({ id }) => id));
  return [...old, ...events.filter(({ id }) => !known.has(id))].slice(-REFUSED_KEPT);
}
