/** Live connections: a tail that keeps up, held while somebody reads, filtered, flat or in groups, exported. */
import { ConnectionRecord as Codec, type ConnectionRecord } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useConnections } from "../../live/connections.js";
import { type ConnectionFilter, isEmpty, matcher } from "../../live/filter.js";
import { MAX_ROWS } from "../../live/tail.js";
import { Action } from "../../ui/action.js";
import { Exports } from "../../ui/exports.js";
import { count } from "../../ui/format.js";
import { useUrlState } from "../../ui/url.js";
import { DistantDrawer, Drawer } from "./drawer.js";
import { CONNECTION_COLUMNS } from "./export.js";
import { FilterBar, useConnectionFilter, useValuesOf } from "./filter-bar.js";
import { Flat } from "./flat.js";
import { Grouped } from "./grouped.js";

export function ConnectionsPage() {
  const [isPaused, setPaused] = useState(false);
  const [isScrolled, setScrolled] = useState(false);
  const [filter, setFilter] = useConnectionFilter();
  const [view, setView] = useUrlState("view", "flat");
  const [openId, setOpenId] = useUrlState("id");
  const isGrouped = view === "grouped";
  const isHeld = isPaused || (isScrolled && !isGrouped);
  const [{ rows, isLoaded, dropped, waiting }, find] = useConnections(isHeld);
  const values = useValuesOf(rows);
  const matching = useMatching(rows, filter);
  const open = openId === "" ? undefined : find(openId);
  return (
    <>
      <div className="row head">
        <h1 className="grow">Live connections</h1>
        <span className="counts" data-testid="tail-count">
          {count(matching.length)} of {count(rows.length)}
          {rows.length >= MAX_ROWS ? " (the last ones)" : ""}
        </span>
        <span
          className={dropped > 0n ? "badge warn" : "badge dim"}
          title="events that came too fast for the controller or an agent"
        >
          {count(dropped)} dropped
        </span>
        {isHeld ? (
          <span className="badge warn" role="status">
            {isPaused ? "paused" : "held while you read"}, {count(waiting)} new
          </span>
        ) : null}
        <Action isPressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? "Resume" : "Pause"}
        </Action>
      </div>
      <section className="panel flush">
        <div className="row tools">
          <FilterBar filter={filter} onChange={setFilter} values={values} />
          <span className="grow" />
          <Action
            isPressed={isGrouped}
            onClick={() => {
              setScrolled(false);
              setView(isGrouped ? "flat" : "grouped");
            }}
          >
            Group
          </Action>
          <Link className="button" to="/map" search={filter as never}>
            On the map
          </Link>
          <Exports
            name="connections"
            items={matching}
            columns={CONNECTION_COLUMNS}
            toJson={(record) => Codec.toJSON(record)}
          />
        </div>
        {matching.length === 0 ? (
          <div className="empty">{emptyText(isLoaded, rows.length)}</div>
        ) : isGrouped ? (
          <Grouped records={matching} onNarrow={(changes) => setFilter({ ...changes })} />
        ) : (
          <Flat records={matching} openId={openId} onOpen={setOpenId} onScrolled={setScrolled} />
        )}
      </section>
      {open ? <Drawer record={open} records={rows} onOpen={setOpenId} onClose={() => setOpenId("")} /> : null}
      {openId !== "" && !open && isLoaded ? <DistantDrawer id={openId} onClose={() => setOpenId("")} /> : null}
    </>
  );
}

function emptyText(isLoaded: boolean, known: number): string {
  if (!isLoaded) return "Loading …";
  if (known > 0) return "No connection fits this filter. Clear it, or wait: new ones appear here by themselves.";
  return "No connection yet. They appear here as containers make them: slimfast run -- curl http://ADDRESS/";
}

/** Age moves with time, but 100,000 rows are looked at only when something else changes, too. */
function useMatching(rows: readonly ConnectionRecord[], filter: ConnectionFilter): readonly ConnectionRecord[] {
  const key = JSON.stringify(filter);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the filter is another one when its text is
  return useMemo(() => (isEmpty(filter) ? rows : rows.filter(matcher(filter, Date.now()))), [rows, key]);
}
