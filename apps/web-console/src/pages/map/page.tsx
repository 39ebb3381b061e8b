/** Who talks to whom, live, with the same filter as the connections. What draws it is loaded with this page only. */
import { type TrafficEdge, TrafficGrouping, type WatchTrafficResponse } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import {
  Background,
  Controls,
  MarkerType,
  Position,
  ReactFlow,
  useNodesInitialized,
  useReactFlow,
} from "@xyflow/react";
import "@xyflow/react/dist/style.css";
import { useEffect, useMemo, useState } from "react";
import { serverFilter } from "../../live/filter.js";
import { useResources } from "../../live/resources.js";
import { controller } from "../../live/session.js";
import { useStream } from "../../live/streams.js";
import { numberColumn, RATE_COLUMNS, textColumn } from "../../ui/columns.js";
import { bytes, count, rate } from "../../ui/format.js";
import { Table } from "../../ui/table.js";
import { useShownTheme } from "../../ui/theme.js";
import { useUrlState } from "../../ui/url.js";
import { FilterBar, useConnectionFilter } from "../connections/filter-bar.js";
import { layered } from "./layout.js";

const NO_LABEL = "(no such label)";
const WIDTH = 170;
const SPACING = { column: 420, row: 68 };
/** As large for busy edges as for quiet ones. */
const ARROW = {
  type: MarkerType.ArrowClosed,
  width: 18,
  height: 18,
  markerUnits: "userSpaceOnUse",
  color: "var(--c1)",
};
const ARROW_OF_REFUSED = { ...ARROW, color: "var(--c4)" };
const GROUPINGS: Readonly<Record<string, TrafficGrouping>> = {
  endpoint: TrafficGrouping.TRAFFIC_GROUPING_ENDPOINT,
  node: TrafficGrouping.TRAFFIC_GROUPING_NODE,
  label: TrafficGrouping.TRAFFIC_GROUPING_LABEL,
};

export function MapPage() {
  const [by, setBy] = useUrlState("by", "endpoint");
  const [label, setLabel] = useUrlState("label", "app");
  const [filter, setFilter] = useConnectionFilter();
  const [traffic, setTraffic] = useState<WatchTrafficResponse | null>(null);
  const { nodes, networks, endpoints } = useResources();
  const key = JSON.stringify([by, by === "label" ? label : "", filter]);
  useStream(key, {
    name: "traffic",
    silenceMs: 10_000,
    open: (signal) =>
      controller.operations.watchTraffic(
        {
          grouping: GROUPINGS[by] ?? TrafficGrouping.TRAFFIC_GROUPING_ENDPOINT,
          labelKey: by === "label" ? label : "",
          filter: serverFilter(filter, Date.now()),
        },
        { signal },
      ),
    onMessage: setTraffic,
  });
  const values = useMemo(
    () => ({
      endpoint: endpoints.map(({ name }) => name),
      node: nodes.map(({ name }) => name),
      network: networks.map(({ name }) => name),
      port: [],
    }),
    [nodes, networks, endpoints],
  );
  const edges = traffic?.edges ?? [];
  return (
    <>
      <div className="row head">
        <h1 className="grow">Map</h1>
        <label className="row tight">
          <span className="dim">by</span>
          <select aria-label="Group by" value={by} onChange={(event) => setBy(event.target.value)}>
            {Object.keys(GROUPINGS).map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        {by === "label" ? (
          <input aria-label="Label key" size={8} value={label} onChange={(e) => setLabel(e.target.value)} />
        ) : null}
        <Link className="button" to="/connections" search={filter as never}>
          As a list
        </Link>
      </div>
      <section className="panel flush">
        <div className="row tools">
          <FilterBar filter={filter} onChange={setFilter} values={values} />
        </div>
        {edges.length === 0 ? (
          <div className="empty">
            {traffic
              ? "Nobody talks to anybody that fits this filter. Clear it, or wait: what begins to talk appears here by itself."
              : "Loading …"}
          </div>
        ) : (
          <section className="map" aria-label="Map of the traffic">
            <Graph edges={edges} />
          </section>
        )}
      </section>
      {edges.length === 0 ? null : (
        <section className="panel">
          <h2>The same as a table</h2>
          <EdgeTable edges={edges} />
          {traffic && traffic.omitted > 0 ? (
            <p className="dim">{count(traffic.omitted)} quieter ones are left out: narrow the filter.</p>
          ) : null}
        </section>
      )}
    </>
  );
}

/** Thickness by rate, so that the busy ones are seen first. */
function strokeOf({ openedPerSecond, liveConnections }: TrafficEdge): number {
  return 1 + Math.min(3, Math.log2(1 + openedPerSecond + liveConnections / 4) / 3);
}

function isMostlyRefused({ refusedPerSecond, openedPerSecond }: TrafficEdge): boolean {
  return refusedPerSecond > openedPerSecond;
}

function rateText({ openedPerSecond, bytesPerSecond, liveConnections, refusedPerSecond }: TrafficEdge): string {
  const parts = [
    openedPerSecond > 0 ? `${rate(openedPerSecond)} new` : `${count(liveConnections)} live`,
    bytesPerSecond >= 1 ? `${bytes(Math.round(bytesPerSecond))}/s` : "",
    refusedPerSecond > 0 ? `${rate(refusedPerSecond)} refused` : "",
  ];
  return parts.filter((part) => part !== "").join(" · ");
}

function Graph({ edges }: { readonly edges: readonly TrafficEdge[] }) {
  const theme = useShownTheme();
  const shape = JSON.stringify(edges.map(({ from, to }) => [from, to]).sort());
  const places = useMemo(() => {
    const pairs = (JSON.parse(shape) as [string, string][]).map(([from, to]) => ({ from, to }));
    return layered([...new Set(pairs.flatMap(({ from, to }) => [from, to]))].sort(), pairs, SPACING);
  }, [shape]);
  const loops = new Map(edges.filter(({ from, to }) => from === to).map((edge) => [edge.from, edge]));
  return (
    <ReactFlow
      colorMode={theme}
      nodes={[...places].map(([id, position]) => ({
        id: `n:${id}`,
        position,
        data: { label: boxText(id, loops.get(id)) },
        width: WIDTH,
        sourcePosition: Position.Right,
        targetPosition: Position.Left,
      }))}
      edges={edges
        .filter(({ from, to }) => from !== to)
        .map((edge) => ({
          id: `${edge.from}>${edge.to}`,
          source: `n:${edge.from}`,
          target: `n:${edge.to}`,
          label: rateText(edge),
          className: isMostlyRefused(edge) ? "refused" : "",
          style: { strokeWidth: strokeOf(edge) },
          markerEnd: isMostlyRefused(edge) ? ARROW_OF_REFUSED : ARROW,
        }))}
      fitView
      fitViewOptions={{ maxZoom: 1.1, padding: 0.15 }}
      minZoom={0.1}
      nodesDraggable={false}
      nodesConnectable={false}
      edgesFocusable={false}
      nodesFocusable={false}
      proOptions={{ hideAttribution: true }}
    >
      <Background />
      <Controls showInteractive={false} />
      <FitAgain shape={shape} />
    </ReactFlow>
  );
}

function boxText(id: string, loop: TrafficEdge | undefined): string {
  const name = id || NO_LABEL;
  return loop ? `${name}  ↺ ${rateText(loop)}` : name;
}

/** Whoever comes or goes, all are in sight. */
function FitAgain({ shape }: { readonly shape: string }) {
  const isReady = useNodesInitialized();
  const { fitView } = useReactFlow();
  // biome-ignore lint/correctness/useExhaustiveDependencies: it is another picture when its shape is
  useEffect(() => {
    if (isReady) void fitView({ maxZoom: 1.1, padding: 0.15 });
  }, [isReady, shape]);
  return null;
}

function EdgeTable({ edges }: { readonly edges: readonly TrafficEdge[] }) {
  return (
    <Table<TrafficEdge>
      label="Who talks to whom"
      items={edges}
      keyOf={({ from, to }) => `${from}>${to}`}
      empty="Nobody talks to anybody that fits this filter."
      columns={[
        textColumn("From", ({ from }) => from || NO_LABEL),
        textColumn("To", ({ to }) => to || NO_LABEL),
        ...RATE_COLUMNS,
        numberColumn("Refused", (each) => each.refusedPerSecond, rate),
        numberColumn(
          "Volume",
          (each) => each.bytesPerSecond,
          (value) => `${bytes(Math.round(value))}/s`,
        ),
      ]}
    />
  );
}
