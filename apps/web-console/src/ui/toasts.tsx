/** Short notices of what was done, and of what could not be. */
import { useSyncExternalStore } from "react";
import { messageOf } from "../live/session.js";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
}

const TOAST_MS = 6_000;
const BAD_TOAST_MS = 15_000;

let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function show(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function say(text: string, isBad = false): void {
  lastId += 1;
  const id = lastId;
  show([...toasts.slice(-4), { id, text, isBad }]);
  setTimeout(() => show(toasts.filter((toast) => toast.id !== id)), isBad ? BAD_TOAST_MS : TOAST_MS);
}

/** Runs what a button stands for; failures are told. @returns Whether it was done. */
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

/** Runs it for each, one after the other, and tells how many were done and why others were not. */
export async function attemptAll<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string,
  what: (item: Item) => Promise<unknown>,
  done: string,
): Promise<void> {
  const failures: string[] = [];
  for (const item of items) {
    try {
      await what(item);
    } catch (error) {
      failures.push(`${nameOf(item)}: ${messageOf(error)}`);
    }
  }
  const count = items.length - failures.length;
  if (count > 0)
    say(`${done} ${count === items.length ? items.map(nameOf).join(", ") : `${count} of ${items.length}`}.`);
  for (const failure of failures) say(failure, true);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={toast.isBad ? "toast bad" : "toast"}>
          <span className="grow">{toast.text}</span>
          <button
            type="button"
            className="quiet"
            aria-label="Dismiss"
            onClick={() => show(toasts.filter(({ id }) => id !== toast.id))}
          >
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
