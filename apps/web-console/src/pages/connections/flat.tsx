/** Connections row by row. Only the rows in sight are drawn, however many there are. */
import type { ConnectionRecord } from "@slimfast/proto";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import { ageMs, isInbound, isLive, STATES, tierOf, verdictOf } from "../../live/filter.js";
import { useNow } from "../../ui/clock.js";
import { address, bytes, clock, duration, microseconds } from "../../ui/format.js";

const ROW_HEIGHT = 30;

export function Flat(props: {
  readonly records: readonly ConnectionRecord[];
  readonly openId: string;
  readonly onOpen: (id: string) => void;
  /** Whether somebody has scrolled away from the newest. */
  readonly onScrolled: (isAway: boolean) => void;
}) {
  const { records } = props;
  const scroller = useRef<HTMLElement>(null);
  const now = useNow();
  const rows = useVirtualizer({
    count: records.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 8,
  });
  return (
    <section
      className="vrows"
      ref={scroller}
      aria-label="Connections"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      tabIndex={0}
      onScroll={(event) => props.onScrolled(event.currentTarget.scrollTop > ROW_HEIGHT)}
    >
      <div className="vhead" aria-hidden="true">
        <span>Opened (UTC)</span>
        <span>State</span>
        <span>Endpoint</span>
        <span />
        <span>Peer</span>
        <span>Tier</span>
        <span className="num">Setup</span>
        <span className="num">RTT</span>
        <span className="num">Sent</span>
        <span className="num">Received</span>
        <span className="num">Age</span>
      </div>
      <div className="vbody" ref={(element) => element?.style.setProperty("height", `${rows.getTotalSize()}px`)}>
        {rows.getVirtualItems().map(({ index, start }) => {
          const record = records[index];
          return record ? (
            <Row
              key={record.id}
              record={record}
              start={start}
              now={now}
              isOpen={record.id === props.openId}
              onOpen={props.onOpen}
            />
          ) : null;
        })}
      </div>
    </section>
  );
}

function Row(props: {
  readonly record: ConnectionRecord;
  readonly start: number;
  readonly now: number;
  readonly isOpen: boolean;
  readonly onOpen: (id: string) => void;
}) {
  const { record, now } = props;
  const c = record.connection;
  const isDenied = verdictOf(record) === "denied";
  const state = isDenied ? "denied" : (STATES[record.kind] ?? "");
  return (
    <button
      type="button"
      className={props.isOpen ? "vrow open" : "vrow"}
      style={{ transform: `translateY(${props.start}px)` }}
      onClick={() => props.onOpen(record.id)}
    >
      <span className="mono">{clock(record.openTime ?? record.closeTime)}</span>
      <span>
        <span className={`badge ${state === "live" ? "ok" : record.error !== "" || isDenied ? "bad" : "dim"}`}>
          {state}
        </span>
      </span>
      <span>
        {c?.endpoint} <span className="dim mono">{address(c?.local)}</span>
      </span>
      <span className={isLive(record) ? "arrow ok" : "arrow dim"}>{isInbound(record) ? "←" : "→"}</span>
      <span>
        {c?.peerEndpoint} <span className="dim mono">{address(c?.peer)}</span>
      </span>
      <span>{tierOf(record)}</span>
      <span className="num">{microseconds(c?.setupUs ?? 0)}</span>
      <span className="num">{microseconds(c?.rttUs ?? 0)}</span>
      <span className="num">{bytes(c?.bytesSent ?? 0n)}</span>
      <span className="num">{bytes(c?.bytesReceived ?? 0n)}</span>
      <span className="num">{duration(ageMs(record, now))}</span>
    </button>
  );
}
