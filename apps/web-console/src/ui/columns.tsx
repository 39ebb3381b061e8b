/** Columns that tables have in common. */
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Time } from "./clock.js";
import { count, rate } from "./format.js";
import { labelText } from "./labels.js";
import type { Column } from "./table.js";

/** Plain text, by which the table can be sorted. */
export function textColumn<Item>(title: string, read: (item: Item) => string): Column<Item> {
  return { title, cell: read, sortBy: read };
}

/** Names stand out, since a row is about them. */
export function nameColumn<Item extends { readonly name: string }>(): Column<Item> {
  return { title: "Name", cell: ({ name }) => <strong>{name}</strong>, sortBy: ({ name }) => name };
}

/** Addresses, prefixes, selectors: what is compared letter by letter. */
export function monoColumn<Item>(title: string, read: (item: Item) => string): Column<Item> {
  return { title, cell: (item) => <span className="mono">{read(item)}</span>, sortBy: read };
}

export function numberColumn<Item>(
  title: string,
  read: (item: Item) => number,
  show: (value: number) => ReactNode = count,
): Column<Item> {
  return { title, cell: (item) => show(read(item)), sortBy: read, isNumber: true };
}

/** Something of which `never` stands for a time that is not set: the end of what does not end, the start of what has not begun. */
export function timeColumn<Item>(title: string, read: (item: Item) => Date | undefined, never = 0): Column<Item> {
  return { title, cell: (item) => <Time at={read(item)} />, sortBy: (item) => read(item)?.getTime() ?? never };
}

export function labelsColumn<Item extends { readonly labels: Readonly<Record<string, string>> }>(): Column<Item> {
  return monoColumn("Labels", ({ labels }) => labelText(labels));
}

/** Cut where it is too long, and then shown whole to the pointer. */
export function descriptionColumn<Item extends { readonly description: string }>(title = "Description"): Column<Item> {
  return {
    title,
    cell: ({ description }) => (
      <span className="clip" title={description}>
        {description}
      </span>
    ),
  };
}

export function actionsColumn<Item>(cell: (item: Item) => ReactNode): Column<Item> {
  return { title: "Actions", cell, isActions: true };
}

/** How many things of another page belong to it, and a way there. */
export function linkedCountColumn<Item>(
  title: string,
  read: (item: Item) => number,
  to: string,
  search: (item: Item) => Readonly<Record<string, string>>,
): Column<Item> {
  const cell = (item: Item) => (
    <Link to={to} search={search(item) as never}>
      {count(read(item))}
    </Link>
  );
  return { ...numberColumn(title, read), cell };
}

/** What goes on somewhere: at a node, or between two who talk. */
export const RATE_COLUMNS = [
  numberColumn("Live", ({ liveConnections }: { readonly liveConnections: number }) => liveConnections),
  numberColumn("Opened", ({ openedPerSecond }: { readonly openedPerSecond: number }) => openedPerSecond, rate),
];
