/** Live connections: a tail that keeps up, filters, groups, one connection's life, cutting, export. */
import { ConnectionRecord as Codec, type ConnectionRecord, Role } from "@slimfast/proto";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { controller } from "../live/session.js";
import { report, useStream } from "../live/streams.js";
import {
  ageMs,
  type ConnectionFilter,
  ConnectionTable,
  isLive,
  matcher,
  NO_FILTER,
  STATES,
  suggestions,
  tierOf,
  verdictOf,
} from "../live/tail.js";
import { address, bytes, clock, count, csvField, duration, microseconds, shellWord } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Cli, Confirm, Dialog, Table, useNow, useUrlSearch, useUrlState } from "../ui/parts.js";
import { Choice } from "./ports.js";

const ROW_HEIGHT = 26;
/** How often the page shows what has come; each time costs a render. */
const SHOW_MS = 200;
const FIRST_LOAD = 1_000;

/** Connections from the stream, shown a few times in a second however fast they come. */
function useConnections(isPaused: boolean) {
  const table = useRef(new ConnectionTable());
  const waiting = useRef<ConnectionRecord[]>([]);
  const [shown, setShown] = useState<{ rows: readonly ConnectionRecord[]; dropped: bigint; waiting: number }>({
    rows: [],
    dropped: 0n,
    waiting: 0,
  });
  const dropped = useRef(0n);
  useStream(
    "connections",
    "tail",
    async function* (signal) {
      // Begun before the list is asked for, so that nothing falls between them.
      const tail = controller.operations.tailConnections({}, { signal })[Symbol.asyncIterator]();
      const first = tail.next();
      first.catch(() => undefined);
      const { connections } = await controller.operations.listConnectionRecords(
        { pageSize: FIRST_LOAD, includeClosed: true },
        { signal },
      );
      table.current.clear();
      table.current.apply(connections.reverse());
      // The list has come: the page is live, though nothing may happen for a while.
      yield { events: [], dropped: 0n };
      for (let item = await first; !item.done; item = await tail.next()) yield item.value;
    },
    (message) => {
      for (const event of message.events) waiting.current.push(event);
      if (message.dropped > dropped.current) {
        dropped.current = message.dropped;
        report("connections", "behind", `${message.dropped} events were dropped`);
      }
    },
    false,
  );
  useEffect(() => {
    const timer = setInterval(() => {
      if (!isPaused && waiting.current.length > 0) {
        table.current.apply(waiting.current);
        waiting.current = [];
      }
      const rows = isPaused ? null : table.current.newestFirst;
      setShown((old) => {
        const next = { rows: rows ?? old.rows, dropped: dropped.current, waiting: waiting.current.length };
        return next.rows === old.rows && next.dropped === old.dropped && next.waiting === old.waiting ? old : next;
      });
    }, SHOW_MS);
    return () => clearInterval(timer);
  }, [isPaused]);
  return shown;
}

function useFilter(): [ConnectionFilter, (key: keyof ConnectionFilter, value: string) => void] {
  const [search, set] = useUrlSearch();
  const values = Object.keys(NO_FILTER).map((key) => [key, String(search[key] ?? "")]);
  return [Object.fromEntries(values) as ConnectionFilter, set];
}

const SUGGESTED: Partial<Record<keyof ConnectionFilter, (record: ConnectionRecord) => string | undefined>> = {
  network: (record) => record.connection?.network,
  node: (record) => record.connection?.node,
  endpoint: (record) => record.connection?.endpoint,
  port: (record) =>
    String((record.connection?.direction === 2 ? record.connection.local : record.connection?.peer)?.port ?? ""),
};

function download(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function csvOf(records: readonly ConnectionRecord[]): string {
  const lines = records.map((record) => {
    const c = record.connection;
    return [
      record.id,
      record.openTime?.toISOString() ?? "",
      record.closeTime?.toISOString() ?? "",
      STATES[record.kind] ?? "",
      c?.node ?? "",
      c?.network ?? "",
      c?.endpoint ?? "",
      c?.peerEndpoint ?? "",
      address(c?.local),
      address(c?.peer),
      tierOf(record),
      verdictOf(record),
      c?.policy ?? "",
      String(c?.bytesSent ?? 0),
      String(c?.bytesReceived ?? 0),
      String(c?.rttUs ?? 0),
      String(c?.setupUs ?? 0),
      record.error,
    ]
      .map(csvField)
      .join(",");
  });
  return [
    "id,open_time,close_time,state,node,network,endpoint,peer_endpoint,local,peer,tier,verdict,policy,bytes_sent,bytes_received,rtt_us,setup_us,error",
    ...lines,
    "",
  ].join("\r\n");
}

export function ConnectionsPage() {
  const [isPaused, setPaused] = useState(false);
  const [filter, setFilter] = useFilter();
  const [view, setView] = useUrlState("view", "flat");
  const [openId, setOpenId] = useUrlState("id");
  const { rows, dropped, waiting } = useConnections(isPaused);
  const filterKey = JSON.stringify(filter);
  // Age moves with time, but not so fast that 100,000 rows should be looked at every second for it.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the filter is another one when its text is
  const matching = useMemo(() => rows.filter(matcher(filter, Date.now())), [rows, filterKey]);
  const open = openId === "" ? undefined : rows.find(({ id }) => id === openId);
  return (
    <>
      <div className="row">
        <h1 className="grow">Live connections</h1>
        <span className="dim" data-testid="tail-count">
          {count(matching.length)} of {count(rows.length)}
          {waiting > 0 && isPaused ? `, ${count(waiting)} waiting` : ""}
        </span>
        <span className={dropped > 0n ? "warn" : "dim"}>{count(dropped)} dropped</span>
        <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? "Resume" : "Pause"}
        </button>
      </div>
      <section className="panel">
        <div className="row">
          {(["network", "node", "endpoint", "port"] as const).map((key) => (
            <span key={key}>
              <input
                {...(key === "network" ? { "data-filter": true } : {})}
                aria-label={key}
                placeholder={key}
                size={11}
                list={`values-${key}`}
                value={filter[key]}
                onChange={(e) => setFilter(key, e.target.value)}
              />
              <datalist id={`values-${key}`}>
                {suggestions(rows.slice(0, 2_000), SUGGESTED[key] ?? (() => undefined)).map((value) => (
                  <option key={value} value={value} />
                ))}
              </datalist>
            </span>
          ))}
          <Choice
            label="State"
            value={filter.state}
            options={["live", "closed", "refused"]}
            onChange={(value) => setFilter("state", value)}
          />
          <Choice
            label="Verdict"
            value={filter.verdict}
            options={["allowed", "denied"]}
            onChange={(value) => setFilter("verdict", value)}
          />
          <Choice
            label="Tier"
            value={filter.tier}
            options={["notify", "preload"]}
            onChange={(value) => setFilter("tier", value)}
          />
          <input
            aria-label="Least age in seconds"
            placeholder="age ≥ s"
            size={6}
            inputMode="numeric"
            value={filter.minAge}
            onChange={(e) => setFilter("minAge", e.target.value)}
          />
          <input
            aria-label="Least bytes"
            placeholder="bytes ≥"
            size={7}
            inputMode="numeric"
            value={filter.minBytes}
            onChange={(e) => setFilter("minBytes", e.target.value)}
          />
          <span className="grow" />
          <button
            type="button"
            aria-pressed={view === "grouped"}
            onClick={() => setView(view === "grouped" ? "flat" : "grouped")}
          >
            Group
          </button>
          <Action
            refusal={matching.length === 0 ? "nothing to export" : null}
            onClick={() => download("connections.csv", "text/csv", csvOf(matching))}
          >
            CSV
          </Action>
          <Action
            refusal={matching.length === 0 ? "nothing to export" : null}
            onClick={() =>
              download(
                "connections.ndjson",
                "application/x-ndjson",
                `${matching.map((each) => JSON.stringify(Codec.toJSON(each))).join("\n")}\n`,
              )
            }
          >
            NDJSON
          </Action>
        </div>
        {matching.length === 0 ? (
          <div className="empty">
            {rows.length === 0
              ? "No connection yet. Connections appear here as containers make them."
              : "No connection fits this filter."}
          </div>
        ) : view === "grouped" ? (
          <Grouped records={matching} />
        ) : (
          <Flat records={matching} onOpen={setOpenId} />
        )}
      </section>
      {open ? <Drawer record={open} onClose={() => setOpenId("")} /> : null}
    </>
  );
}

function Flat({
  records,
  onOpen,
}: {
  readonly records: readonly ConnectionRecord[];
  readonly onOpen: (id: string) => void;
}) {
  const scroller = useRef<HTMLElement>(null);
  const now = useNow();
  const rows = useVirtualizer({
    count: records.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
  });
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="vrows" ref={scroller} aria-label="Connections" tabIndex={0}>
      <div className="vhead" aria-hidden="true">
        <span>Opened</span>
        <span>State</span>
        <span>Endpoint</span>
        <span>Peer</span>
        <span>Tier</span>
        <span className="num">RTT</span>
        <span className="num">Sent</span>
        <span className="num">Received</span>
        <span className="num">Age</span>
      </div>
      <div className="vbody" ref={(element) => element?.style.setProperty("height", `${rows.getTotalSize()}px`)}>
        {rows.getVirtualItems().map(({ index, start }) => {
          const record = records[index];
          const c = record?.connection;
          if (!record || !c) return null;
          const isBad = record.error !== "";
          return (
            <button
              type="button"
              className="vrow"
              key={record.id}
              style={{ transform: `translateY(${start}px)` }}
              onClick={() => onOpen(record.id)}
            >
              <span className="mono">{clock(record.openTime ?? record.closeTime)}</span>
              <span className={isBad ? "bad" : isLive(record) ? "ok" : "dim"}>
                {verdictOf(record) === "denied" ? "denied" : STATES[record.kind]}
              </span>
              <span>
                {c.direction === 2 ? "← " : "→ "}
                {c.endpoint} <span className="dim mono">{address(c.local)}</span>
              </span>
              <span>
                {c.peerEndpoint} <span className="dim mono">{address(c.peer)}</span>
              </span>
              <span>{tierOf(record)}</span>
              <span className="num">{microseconds(c.rttUs)}</span>
              <span className="num">{bytes(c.bytesSent)}</span>
              <span className="num">{bytes(c.bytesReceived)}</span>
              <span className="num">{duration(ageMs(record, now))}</span>
            </button>
          );
        })}
      </div>
    </section>
  );
}

function Grouped({ records }: { readonly records: readonly ConnectionRecord[] }) {
  const groups = useMemo(() => {
    const found = new Map<string, { key: string; live: number; ended: number; refused: number; volume: bigint }>();
    for (const record of records) {
      const c = record.connection;
      if (!c) continue;
      const isInbound = c.direction === 2;
      const port = (isInbound ? c.local : c.peer)?.port ?? 0;
      const peer = c.peerEndpoint || c.peer?.address || "?";
      const key = isInbound ? `${peer} → ${c.endpoint}:${port}` : `${c.endpoint} → ${peer}:${port}`;
      const group = found.get(key) ?? { key, live: 0, ended: 0, refused: 0, volume: 0n };
      if (isLive(record)) group.live += 1;
      else if (record.error !== "") group.refused += 1;
      else group.ended += 1;
      group.volume += c.bytesSent + c.bytesReceived;
      found.set(key, group);
    }
    return [...found.values()].sort((a, b) => b.live + b.ended - a.live - a.ended);
  }, [records]);
  return (
    <Table
      label="Groups of connections"
      items={groups}
      keyOf={({ key }) => key}
      empty="Nothing."
      columns={[
        { title: "From → to", cell: ({ key }) => key, sortBy: ({ key }) => key },
        { title: "Live", cell: ({ live }) => count(live), sortBy: ({ live }) => live, isNumber: true },
        { title: "Closed", cell: ({ ended }) => count(ended), sortBy: ({ ended }) => ended, isNumber: true },
        { title: "Refused", cell: ({ refused }) => count(refused), sortBy: ({ refused }) => refused, isNumber: true },
        {
          title: "Volume",
          cell: ({ volume }) => bytes(volume),
          sortBy: ({ volume }) => Number(volume),
          isNumber: true,
        },
      ]}
    />
  );
}

function Drawer({ record, onClose }: { readonly record: ConnectionRecord; readonly onClose: () => void }) {
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [isCutting, setCutting] = useState(false);
  const c = record.connection;
  const command = `slimfast connection cut ${shellWord(record.id)}`;
  const facts: [string, string][] = [
    ["State", `${STATES[record.kind]} ${c?.state ?? ""} ${record.error}`],
    ["Opened", record.openTime?.toISOString() ?? "–"],
    ["Closed", record.closeTime?.toISOString() ?? "–"],
    ["Node, network", `${c?.node}, ${c?.network}`],
    ["Endpoint", `${c?.endpoint} (${c?.direction === 2 ? "inbound" : "outbound"})`],
    ["Overlay", `${address(c?.local)} ↔ ${address(c?.peer)} ${c?.peerEndpoint ?? ""}`],
    ["Underlay", `${address(c?.underlayLocal)} ↔ ${address(c?.underlayPeer)}`],
    [
      "SYN decision",
      c?.direction === 2
        ? `dispatched from front port ${c.underlayLocal?.port ?? "–"}`
        : `rewritten to ${address(c?.underlayPeer)}`,
    ],
    [
      "Reservation",
      c?.direction === 2 ? `front ports of node/${c.node}` : `front ports at ${c?.underlayPeer?.address ?? "–"}`,
    ],
    ["Policy", `${verdictOf(record)} by ${c?.policy || "the network's default"}`],
    ["Tier", tierOf(record)],
    ["Handshake", microseconds(c?.setupUs ?? 0)],
    ["RTT", microseconds(c?.rttUs ?? 0)],
    ["Sent, received", `${bytes(c?.bytesSent ?? 0n)}, ${bytes(c?.bytesReceived ?? 0n)}`],
  ];
  return (
    <Dialog title={`Connection ${record.id}`} onClose={onClose} isDrawer>
      <dl className="facts">
        {facts.map(([title, value]) => [<dt key={title}>{title}</dt>, <dd key={`${title}-value`}>{value}</dd>])}
      </dl>
      <Cli command={command} />
      <Action
        kind="danger"
        refusal={refusal ?? (isLive(record) ? null : "it has ended")}
        onClick={() => setCutting(true)}
      >
        Cut
      </Action>
      {isCutting ? (
        <Confirm
          title="Cut this connection?"
          breaks={`${c?.endpoint} and its peer ${address(c?.peer)} see a reset; what was under way is lost.`}
          verb="Cut it"
          cli={command}
          onConfirm={() =>
            void attempt(() => controller.operations.cutConnection({ id: record.id }), "The connection is cut.")
          }
          onClose={() => setCutting(false)}
        />
      ) : null}
    </Dialog>
  );
}
