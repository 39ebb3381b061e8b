/** The cluster at a glance. */
import type { WatchOverviewResponse } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { controller } from "../live/session.js";
import { useStream } from "../live/streams.js";
import { TIERS } from "../live/tail.js";
import { count, microseconds, rate } from "../ui/format.js";
import { Table } from "../ui/parts.js";

const HISTORY = 120;

export function OverviewPage() {
  const [history, setHistory] = useState<readonly WatchOverviewResponse[]>([]);
  useStream(
    "overview",
    "",
    (signal) => controller.operations.watchOverview({}, { signal }),
    (snapshot) => setHistory((old) => [...old.slice(1 - HISTORY), snapshot]),
  );
  const now = history.at(-1);
  if (!now) return <p className="empty">Loading …</p>;
  const cards: [string, string, string][] = [
    ["Nodes connected", `${now.nodesConnected}`, `of ${now.nodes}`],
    ["Networks", count(now.networks), ""],
    ["Endpoints", count(now.endpoints), ""],
    ["Live connections", count(now.liveConnections), ""],
    ["Opened", rate(now.openedPerSecond), ""],
    ["Closed", rate(now.closedPerSecond), ""],
    ["Refused", rate(now.refusedPerSecond), ""],
    ["Denied", rate(now.deniedPerSecond), ""],
    ["Events dropped", count(now.droppedEvents), "since start"],
  ];
  return (
    <>
      <h1>Overview</h1>
      <section className="cards" aria-label="Totals">
        {cards.map(([title, value, unit]) => (
          <div className="panel card" key={title}>
            <div className="dim">{title}</div>
            <div className="value">
              {value} <span className="unit">{unit}</span>
            </div>
          </div>
        ))}
      </section>
      <section className="panel">
        <h2>Connections opened per second</h2>
        <Series history={history} />
      </section>
      <section className="panel">
        <h2>Set-up times, outbound, last 10 s</h2>
        <Table
          label="Set-up times"
          items={now.setupTimes}
          keyOf={({ tier }) => String(tier)}
          empty="No connection was made in the last 10 s."
          columns={[
            { title: "Tier", cell: ({ tier }) => TIERS[tier] },
            { title: "Connections", cell: (each) => count(each.count), isNumber: true },
            { title: "p50", cell: ({ p50Us }) => microseconds(p50Us), isNumber: true },
            { title: "p90", cell: ({ p90Us }) => microseconds(p90Us), isNumber: true },
            { title: "p99", cell: ({ p99Us }) => microseconds(p99Us), isNumber: true },
          ]}
        />
      </section>
      <section className="panel">
        <h2>Nodes</h2>
        <Table
          label="Nodes"
          items={now.nodeOverviews}
          keyOf={({ node }) => node}
          empty="No node yet. A node appears here when its agent starts."
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
                <span className={connected ? "ok" : "bad"}>{connected ? "connected" : "lost"}</span>
              ),
            },
            {
              title: "Endpoints",
              cell: ({ endpoints }) => count(endpoints),
              sortBy: ({ endpoints }) => endpoints,
              isNumber: true,
            },
            {
              title: "Live",
              cell: (each) => count(each.liveConnections),
              sortBy: (each) => each.liveConnections,
              isNumber: true,
            },
            {
              title: "Opened",
              cell: (each) => rate(each.openedPerSecond),
              sortBy: (each) => each.openedPerSecond,
              isNumber: true,
            },
            {
              title: "Inbound by front port",
              cell: ({ frontPortConnections }) => <span className="mono">{frontPortConnections.join(" ")}</span>,
            },
          ]}
        />
      </section>
      <p>
        <Link to="/connections">Recent events are in the live connections.</Link>
      </p>
    </>
  );
}

function Series({ history }: { readonly history: readonly WatchOverviewResponse[] }) {
  const element = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const observer = new MutationObserver(() => setTheme(document.documentElement.dataset.theme));
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot takes its colours from the theme
  useEffect(() => {
    const parent = element.current;
    if (!parent) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 } };
    plot.current = new uPlot(
      {
        width: parent.clientWidth,
        height: 150,
        legend: { show: false },
        cursor: { show: false },
        axes: [axis, axis],
        series: [{}, { stroke: color("--c1"), width: 2 }, { stroke: color("--bad"), width: 2 }],
      },
      [[], [], []],
      parent,
    );
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: parent.clientWidth, height: 150 }));
    resize.observe(parent);
    return () => {
      resize.disconnect();
      plot.current?.destroy();
    };
  }, [theme]);
  useEffect(() => {
    plot.current?.setData([
      history.map(({ time }) => (time?.getTime() ?? 0) / 1_000),
      history.map(({ openedPerSecond }) => openedPerSecond),
      history.map(({ refusedPerSecond, deniedPerSecond }) => refusedPerSecond + deniedPerSecond),
    ]);
  }, [history]);
  return (
    <div
      className="chart"
      ref={element}
      role="img"
      aria-label="Opened (blue), refused and denied (red) per second, last two minutes"
    />
  );
}
