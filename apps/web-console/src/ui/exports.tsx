/** The two buttons that save what is shown. */
import { Action } from "./action.js";
import { csvOf, download, type ExportColumn, ndjsonOf } from "./export.js";

export function Exports<Item>(props: {
  /** Of the files, without ending. */
  readonly name: string;
  readonly items: readonly Item[];
  readonly columns: readonly ExportColumn<Item>[];
  readonly toJson: (item: Item) => unknown;
}) {
  const { name, items, columns, toJson } = props;
  const refusal = items.length === 0 ? "there is nothing to export" : null;
  return (
    <>
      <Action
        refusal={refusal}
        label="Export as CSV"
        onClick={() => download(`${name}.csv`, "text/csv", csvOf(columns, items))}
      >
        CSV
      </Action>
      <Action
        refusal={refusal}
        label="Export as NDJSON"
        onClick={() => download(`${name}.ndjson`, "application/x-ndjson", ndjsonOf(toJson, items))}
      >
        NDJSON
      </Action>
    </>
  );
}
