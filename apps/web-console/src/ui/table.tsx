/** Tables of at most some thousand rows: sorted by a press on a column, the order kept in the URL. */
import { type ReactNode, useState } from "react";
import { Action } from "./action.js";
import { count } from "./format.js";
import { useUrlState } from "./url.js";

export interface Column<Item> {
  readonly title: string;
  readonly cell: (item: Item) => ReactNode;
  /** What it is sorted by; without it the column cannot be. */
  readonly sortBy?: (item: Item) => string | number;
  readonly isNumber?: boolean;
  /** Buttons, on the right. */
  readonly isActions?: boolean;
}

/** Rows that are drawn at first, and with each press on the button below them. A browser lays out all of a table anew when its order changes. */
const ROWS_AT_A_TIME = 200;

export function Table<Item>(props: {
  readonly label: string;
  readonly items: readonly Item[];
  readonly columns: readonly Column<Item>[];
  readonly keyOf: (item: Item) => string;
  readonly empty: ReactNode;
  /** Where the order is kept in the URL; several tables of a page need different ones. */
  readonly orderKey?: string;
}) {
  const { items, columns } = props;
  const [order, setOrder] = useUrlState(props.orderKey ?? "order");
  const [shown, setShown] = useState(ROWS_AT_A_TIME);
  const isDown = order.startsWith("-");
  const sorted = columns.find(({ title, sortBy }) => sortBy && title === order.replace(/^-/, ""));
  const by = sorted?.sortBy;
  const rows = by ? [...items].sort((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0) * (isDown ? -1 : 1)) : items;
  if (items.length === 0) return <div className="empty">{props.empty}</div>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="scroll" aria-label={props.label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ title, sortBy, isNumber, isActions }) => (
              <th
                key={title}
                className={isNumber ? "num" : isActions ? "actions" : undefined}
                aria-sort={sorted?.title === title ? (isDown ? "descending" : "ascending") : undefined}
              >
                {sortBy ? (
                  <button
                    type="button"
                    onClick={() => setOrder(sorted?.title === title && !isDown ? `-${title}` : title)}
                  >
                    {title}
                    <span className="order" aria-hidden="true">
                      {sorted?.title === title ? (isDown ? "▾" : "▴") : ""}
                    </span>
                  </button>
                ) : isActions ? (
                  <span className="unseen">{title}</span>
                ) : (
                  title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, shown).map((item) => (
            <tr key={props.keyOf(item)}>
              {columns.map(({ title, cell, isNumber, isActions }) => (
                <td key={title} className={isNumber ? "num" : isActions ? "actions" : undefined}>
                  {cell(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {items.length > shown ? (
        <p className="dim">
          {count(items.length - shown)} more: narrow the filter, or{" "}
          <Action kind="quiet" label="Show more rows" onClick={() => setShown(shown + ROWS_AT_A_TIME)}>
            show more
          </Action>
        </p>
      ) : null}
    </section>
  );
}
