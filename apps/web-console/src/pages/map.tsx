/** Who talks to whom, live. The layout and drawing are loaded with this page only. */
import { TrafficGrouping, type WatchTrafficResponse } from "@slimfast/proto";
import { Background, Controls, MarkerType, ReactFlow } from "@xyflow/react";
import ELK from "elkjs/lib/elk.bundled.js";
import "@xyflow/react/dist/style.css";
import { useEffect, useState } from "react";
import { controller } from "../live/session.js";
import { useStream } from "../live/streams.js";
import { bytes, rate } from "../ui/format.js";
import { Table, useUrlState } from "../ui/parts.js";

const elk = new ELK();
const WIDTH = 150;
const HEIGHT = 34;

export function MapPage() {
  const [by, setBy] = useUrlState("by", "endpoint");
  const [label, setLabel] = useUrlState("label", "app");
  const [filter, setFilter] = useUrlState("filter");
  const [traffic, setTraffic] = useState<WatchTrafficResponse | null>(null);
  const [places, setPlaces] = useState<Readonly<Record<string, { x: number; y: number }>>>({});
  const grouping =
    by === "node"
      ? TrafficGrouping.TRAFFIC_GROUPING_NODE
      : by === "label"
        ? TrafficGrouping.TRAFFIC_GROUPING_LABEL
        : TrafficGrouping.TRAFFIC_GROUPING_ENDPOINT;
  useStream(
    "traffic",
    `${by} ${label} ${filter}`,
    (signal) =>
      controller.operations.watchTraffic({ grouping, labelKey: by === "label" ? label : "", filter }, { signal }),
    setTraffic,
  );
  const edges = traffic?.edges ?? [];
  const names = [...new Set(edges.flatMap(({ from, to }) => [from, to]))].sort();
  const shape = JSON.stringify([names, edges.map(({ from, to }) => [from, to])]);
  useEffect(() => {
    const [children, pairs] = JSON.parse(shape) as [string[], [string, string][]];
    void elk
      .layout({
        id: "root",
        layoutOptions: {
          "elk.algorithm": "layered",
          "elk.direction": "RIGHT",
          "elk.layered.spacing.nodeNodeBetweenLayers": "140",
        },
        children: children.map((id) => ({ id: `n:${id}`, width: WIDTH, height: HEIGHT })),
        edges: pairs.map(([from, to], index) => ({ id: String(index), sources: [`n:${from}`], targets: [`n:${to}`] })),
      })
      .then((done) =>
        setPlaces(Object.fromEntries((done.children ?? []).map(({ id, x = 0, y = 0 }) => [id, { x, y }]))),
      );
  }, [shape]);
  const dark = document.documentElement.dataset.theme === "dark";
  return (
    <>
      <div className="row">
        <h1 className="grow">Map</h1>
        <select aria-label="Group by" value={by} onChange={(event) => setBy(event.target.value)}>
          <option>endpoint</option>
          <option>node</option>
          <option>label</option>
        </select>
        {by === "label" ? (
          <input aria-label="Label key" value={label} onChange={(e) => setLabel(e.target.value)} />
        ) : null}
        <input
          data-filter
          aria-label="Filter"
          placeholder='connection.network = "default" ( / )'
          size={30}
          value={filter}
          onChange={(e) => setFilter(e.target.value)}
        />
      </div>
      <section className="panel map" aria-label="Map of the traffic">
        <ReactFlow
          colorMode={dark ? "dark" : "light"}
          nodes={names.map((id) => ({
            id: `n:${id}`,
            position: places[`n:${id}`] ?? { x: 0, y: 0 },
            data: { label: id === "" ? "(no label)" : id },
            width: WIDTH,
            sourcePosition: "right" as never,
            targetPosition: "left" as never,
          }))}
          edges={edges.map(({ from, to, openedPerSecond, bytesPerSecond }) => ({
            id: `${from}>${to}`,
            source: `n:${from}`,
            target: `n:${to}`,
            label: `${rate(openedPerSecond)} ${bytes(Math.round(bytesPerSecond))}/s`,
            markerEnd: { type: MarkerType.ArrowClosed },
          }))}
          fitView
          key={names.length === Object.keys(places).length ? "placed" : "waiting"}
          nodesDraggable={false}
          edgesFocusable={false}
          nodesFocusable={false}
          proOptions={{ hideAttribution: true }}
        >
          <Background />
          <Controls showInteractive={false} />
        </ReactFlow>
      </section>
      <section className="panel">
        <Table
          label="Who talks to whom"
          items={edges}
          keyOf={({ from, to }) => `${from}>${to}`}
          empty={traffic ? "Nobody talks to anybody that fits this filter." : "Loading …"}
          columns={[
            { title: "From", cell: ({ from }) => from, sortBy: ({ from }) => from },
            { title: "To", cell: ({ to }) => to, sortBy: ({ to }) => to },
            {
              title: "Live",
              cell: (each) => each.liveConnections,
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
              title: "Refused",
              cell: (each) => rate(each.refusedPerSecond),
              sortBy: (each) => each.refusedPerSecond,
              isNumber: true,
            },
            {
              title: "Volume",
              cell: (each) => `${bytes(Math.round(each.bytesPerSecond))}/s`,
              sortBy: (each) => each.bytesPerSecond,
              isNumber: true,
            },
          ]}
        />
        {traffic && traffic.omitted > 0 ? <p className="dim">{traffic.omitted} quieter ones are left out.</p> : null}
      </section>
    </>
  );
}
