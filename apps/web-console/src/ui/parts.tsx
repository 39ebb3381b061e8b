/** The parts that pages are made of: dialogs, tables, times, toasts, buttons that say why they may not be pressed. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { messageOf } from "../live/session.js";
import { duration } from "./format.js";

/** The page's state, which lives in the URL. What equals its fallback is left out of it. */
export function useUrlSearch(): [
  Readonly<Record<string, unknown>>,
  (key: string, value: string, fallback?: string) => void,
] {
  const search = useSearch({ strict: false }) as Record<string, unknown>;
  const navigate = useNavigate();
  const set = (key: string, next: string, fallback = ""): void => {
    void navigate({
      to: ".",
      replace: true,
      search: ((old: Record<string, unknown>) => {
        const { [key]: _, ...rest } = old;
        return next === fallback ? rest : { ...rest, [key]: next };
      }) as never,
    });
  };
  return [search, set];
}

/** One piece of it. */
export function useUrlState(key: string, fallback = ""): [string, (value: string) => void] {
  const [search, set] = useUrlSearch();
  return [search[key] === undefined ? fallback : String(search[key]), (value) => set(key, value, fallback)];
}

const clockListeners = new Set<() => void>();
let nowMs = Date.now();
setInterval(() => {
  nowMs = Date.now();
  for (const listener of clockListeners) listener();
}, 1_000);

/** The time, once a second. */
export function useNow(): number {
  return useSyncExternalStore(
    (listener) => {
      clockListeners.add(listener);
      return () => void clockListeners.delete(listener);
    },
    () => nowMs,
  );
}

/** Relative to now, with the exact time to point at. */
export function Time({ at }: { readonly at: Date | undefined }) {
  const now = useNow();
  if (!at) return <span className="dim">–</span>;
  const ms = at.getTime() - now;
  const text = ms > 0 ? `in ${duration(ms)}` : `${duration(-ms)} ago`;
  return (
    <time dateTime={at.toISOString()} title={at.toISOString()}>
      {text}
    </time>
  );
}

export interface ActionProps {
  readonly children: ReactNode;
  readonly onClick: () => void;
  /** Why it may not be pressed; null: it may. */
  readonly refusal?: string | null;
  readonly kind?: "primary" | "danger";
}

export function Action({ children, onClick, refusal = null, kind }: ActionProps) {
  return (
    <button type="button" className={kind} disabled={refusal !== null} title={refusal ?? undefined} onClick={onClick}>
      {children}
    </button>
  );
}

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
  readonly isDrawer?: boolean;
}

export function Dialog({ title, onClose, children, isDrawer = false }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog ref={element} aria-label={title} className={isDrawer ? "drawer" : undefined} onClose={onClose}>
      <div className="row">
        <h2 className="grow">{title}</h2>
        <button type="button" aria-label="Close" onClick={() => element.current?.close()}>
          ×
        </button>
      </div>
      {children}
    </dialog>
  );
}

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
}
let toasts: readonly Toast[] = [];
let lastToast = 0;
const toastListeners = new Set<() => void>();
const TOAST_MS = 6_000;

export function say(text: string, isBad = false): void {
  lastToast += 1;
  const id = lastToast;
  const show = (next: readonly Toast[]): void => {
    toasts = next;
    for (const listener of toastListeners) listener();
  };
  show([...toasts, { id, text, isBad }]);
  setTimeout(() => show(toasts.filter((toast) => toast.id !== id)), TOAST_MS);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      toastListeners.add(listener);
      return () => void toastListeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={toast.isBad ? "toast bad" : "toast"}>
          {toast.text}
        </div>
      ))}
    </div>
  );
}

/** Runs what a button stands for; failures are told. */
export async function attempt(what: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await what();
    say(done);
    return true;
  } catch (error) {
    say(messageOf(error), true);
    return false;
  }
}

/** Asks before something breaks: `breaks` says what. */
export function Confirm(props: {
  readonly title: string;
  readonly breaks: ReactNode;
  readonly verb: string;
  readonly cli?: string;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p>{props.breaks}</p>
      {props.cli === undefined ? null : <Cli command={props.cli} />}
      <div className="row">
        <Action
          kind="danger"
          onClick={() => {
            props.onConfirm();
            props.onClose();
          }}
        >
          {props.verb}
        </Action>
        <Action onClick={props.onClose}>Keep</Action>
      </div>
    </Dialog>
  );
}

/** The command that does the same. */
export function Cli({ command }: { readonly command: string }) {
  return (
    <div>
      <span className="dim">The same by command line:</span>
      <code className="cli">{command}</code>
    </div>
  );
}

export interface Column<Item> {
  readonly title: string;
  readonly cell: (item: Item) => ReactNode;
  /** What it is sorted by; without it the column cannot be. */
  readonly sortBy?: (item: Item) => string | number;
  readonly isNumber?: boolean;
}

const ROWS_SHOWN = 500;

/** A table of at most some hundred rows; more are counted and have to be filtered for. */
export function Table<Item>(props: {
  readonly label: string;
  readonly items: readonly Item[];
  readonly columns: readonly Column<Item>[];
  readonly keyOf: (item: Item) => string;
  readonly empty: ReactNode;
}) {
  const { items, columns } = props;
  const [sort, setSort] = useState<{ index: number; isDown: boolean } | null>(null);
  const sortBy = sort ? columns[sort.index]?.sortBy : undefined;
  const sorted = sortBy ? [...items].sort((a, b) => (sortBy(a) < sortBy(b) ? -1 : 1) * (sort?.isDown ? -1 : 1)) : items;
  if (items.length === 0) return <div className="empty">{props.empty}</div>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="scroll" aria-label={props.label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ title, sortBy: by, isNumber }, index) => (
              <th
                key={title}
                className={isNumber ? "num" : undefined}
                aria-sort={sort?.index === index ? (sort.isDown ? "descending" : "ascending") : undefined}
              >
                {by ? (
                  <button
                    type="button"
                    onClick={() => setSort({ index, isDown: sort?.index === index && !sort.isDown })}
                  >
                    {title} {sort?.index === index ? (sort.isDown ? "▾" : "▴") : ""}
                  </button>
                ) : (
                  title || <span className="dim">Actions</span>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, ROWS_SHOWN).map((item) => (
            <tr key={props.keyOf(item)}>
              {columns.map(({ title, cell, isNumber }) => (
                <td key={title} className={isNumber ? "num" : undefined}>
                  {cell(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {items.length > ROWS_SHOWN ? <p className="dim">{items.length - ROWS_SHOWN} more: narrow the filter.</p> : null}
    </section>
  );
}
