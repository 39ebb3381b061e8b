/** Connections by who connects to whom. */
import type { ConnectionRecord } from "@slimfast/proto";
import { memo, useRef } from "react";
import type { ConnectionFilter } from "../../live/filter.js";
import { Action } from "../../ui/action.js";
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
    <Table
      label="Groups of connections"
      items={props.groups}
      keyOf={({ key }) => key}
      empty="No connection fits this filter."
      columns={[
        { title: "From", cell: ({ from }) => from, sortBy: ({ from }) => from },
        { title: "To", cell: ({ to }) => to, sortBy: ({ to }) => to },
        { title: "Port", cell: ({ port }) => port, sortBy: ({ port }) => port, isNumber: true },
        { title: "Network", cell: ({ network }) => network, sortBy: ({ network }) => network },
        { title: "Live", cell: ({ live }) => count(live), sortBy: ({ live }) => live, isNumber: true },
        { title: "Closed", cell: ({ ended }) => count(ended), sortBy: ({ ended }) => ended, isNumber: true },
        {
          title: "Refused",
          cell: ({ refused }) => <span className={refused > 0 ? "bad" : undefined}>{count(refused)}</span>,
          sortBy: ({ refused }) => refused,
          isNumber: true,
        },
        { title: "Volume", cell: (group) => bytes(group.bytes), sortBy: (group) => group.bytes, isNumber: true },
        {
          title: "Actions",
          isActions: true,
          cell: ({ to, port, network }) => (
            <Action
              kind="quiet"
              label={`Show connections to ${to} port ${port}`}
              onClick={() => props.narrow.current({ endpoint: to, port: String(port), network })}
            >
              Show
            </Action>
          ),
        },
      ]}
    />
  );
});
