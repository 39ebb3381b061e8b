/** Connections by who connects to whom. */
import type { ConnectionRecord } from "@slimfast/proto";
import { memo, useRef } from "react";
import type { ConnectionFilter } from "../../live/filter.js";
import { Action } from "../../ui/action.js";
import { actionsColumn, numberColumn, textColumn } from "../../ui/columns.js";
import { bytes, count } from "../../ui/format.js";
import { Table } from "../../ui/table.js";
import type { Group } from "./groups.js";
import { useGroups } from "./use-groups.js";

type Narrow = (changes: Partial<ConnectionFilter>) => void;

export function Grouped(props: { readonly records: readonly ConnectionRecord[]; readonly onNarrow: Narrow }) {
  const groups = useGroups(props.records);
  const narrow = useRef(props.onNarrow);
  narrow.current = props.onNarrow;
  if (groups === null) return <div className="empty">Adding them up …</div>;
  return <GroupTable groups={groups} narrow={narrow} />;
}

/** Drawn anew only when the groups have changed, not with every event. */
const GroupTable = memo(function GroupTable(props: {
  readonly groups: readonly Group[];
  readonly narrow: { readonly current: Narrow };
}) {
  return (
    <Table<Group>
      label="Groups of connections"
      items={props.groups}
      keyOf={({ key }) => key}
      empty="No connection fits this filter."
      columns={[
        textColumn("From", ({ from }) => from),
        textColumn("To", ({ to }) => to),
        numberColumn("Port", ({ port }) => port, String),
        textColumn("Network", ({ network }) => network),
        numberColumn("Live", ({ live }) => live),
        numberColumn("Closed", ({ ended }) => ended),
        numberColumn(
          "Refused",
          ({ refused }) => refused,
          (value) => <span className={value > 0 ? "bad" : undefined}>{count(value)}</span>,
        ),
        numberColumn("Volume", (group) => group.bytes, bytes),
        actionsColumn(({ to, port, network }) => (
          <Action
            kind="quiet"
            label={`Show connections to ${to} port ${port}`}
            onClick={() => props.narrow.current({ endpoint: to, port: String(port), network })}
          >
            Show
          </Action>
        )),
      ]}
    />
  );
});
