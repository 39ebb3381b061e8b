/** A page that lists things of one kind: what they are called, how one is made, the filter, files of them, the table. */
import type { ReactNode } from "react";
import { Action } from "./action.js";
import type { ExportColumn } from "./export.js";
import { Exports } from "./exports.js";
import { TextFilter } from "./filters.js";
import { type Column, Table } from "./table.js";

export interface ListingProps<Item> {
  /** Of the page and the table. */
  readonly title: string;
  /** What one of them is called. */
  readonly noun: string;
  readonly create: {
    readonly verb: string;
    readonly refusal: string | null;
    readonly onClick: () => void;
  };
  readonly filter: {
    /** What it looks at. */
    readonly fields: string;
    readonly value: string;
    readonly onChange: (value: string) => void;
  };
  /** Further filters, beside the first. */
  readonly filters?: ReactNode;
  /** Between the filters and the table. */
  readonly note?: ReactNode;
  /** Those that fit the filter. */
  readonly shown: readonly Item[];
  /** How many there are without a filter. */
  readonly total: number;
  /** Whether all of them are known. */
  readonly isComplete: boolean;
  /** What to do where there is none. */
  readonly hint: string;
  readonly keyOf: (item: Item) => string;
  readonly columns: readonly Column<Item>[];
  readonly file: {
    /** Without ending. */
    readonly name: string;
    readonly columns: readonly ExportColumn<Item>[];
    readonly toJson: (item: Item) => unknown;
  };
}

export function Listing<Item>(props: ListingProps<Item>) {
  const { title, noun, create, filter, shown, total, isComplete, hint, file } = props;
  return (
    <>
      <div className="row head">
        <h1 className="grow">{title}</h1>
        <Action kind="primary" refusal={create.refusal} onClick={create.onClick}>
          {create.verb}
        </Action>
      </div>
      <section className="panel">
        <div className="row tools">
          <TextFilter
            isMain
            label="Filter"
            placeholder={`${filter.fields}   /`}
            size={22}
            value={filter.value}
            onChange={filter.onChange}
          />
          {props.filters}
          <span className="grow" />
          <Exports name={file.name} items={shown} columns={file.columns} toJson={file.toJson} />
        </div>
        {props.note}
        <Table
          label={title}
          items={shown}
          keyOf={props.keyOf}
          empty={!isComplete ? "Loading …" : total === 0 ? `No ${noun} yet. ${hint}` : `No ${noun} fits this filter.`}
          columns={props.columns}
        />
      </section>
    </>
  );
}
