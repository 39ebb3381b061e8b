/**
 * The audit log: who did what, and who was refused.
 *
 * What changes the store is recorded in the same transaction (`audited-store.ts`), so that no acknowledged change lacks
 * its entry. Everything else is appended here: changes of other things before they are acknowledged, refusals together
 * with others a moment later.
 */
import type { Logger } from "pino";
import type { AuditEntry } from "../domain/resources.js";
import type { Store } from "../store/store.js";
import {
  AUDIT_FLUSH_MS,
  AUDIT_TRIM_ENTRIES,
  MAX_AUDIT_ENTRIES,
  MAX_AUDIT_MESSAGE_CHARS,
  MAX_AUDIT_PENDING,
  MAX_AUDIT_RESOURCE_CHARS,
} from "./limits.js";

/** An entry as its writer knows it. */
export type NewEntry = Omit<AuditEntry, "key" | "ordinal" | "revision" | "timeMs">;

/** Ever-growing within the store: entries of one revision are numbered. */
export function auditSequence({ revision, ordinal }: Pick<AuditEntry, "revision" | "ordinal">): bigint {
  return revision * 10_000n + BigInt(ordinal);
}

function cut(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars)}…`;
}

export function boundedEntry(entry: NewEntry, timeMs: number): Omit<AuditEntry, "key" | "ordinal" | "revision"> {
  return {
    ...entry,
    timeMs,
    resource: cut(entry.resource, MAX_AUDIT_MESSAGE_CHARS),
    message: cut(entry.message, MAX_AUDIT_MESSAGE_CHARS),
    // Half a JSON document is none.
    before: entry.before.length <= MAX_AUDIT_RESOURCE_CHARS ? entry.before : "",
    after: entry.after.length <= MAX_AUDIT_RESOURCE_CHARS ? entry.after : "",
  };
}

/** An entry about something that the controller did by itself. */
export function systemEntry(action: string, resource: string, message = ""): NewEntry {
  return { actor: "system", action, resource, code: "OK", message, before: "", after: "", peer: "" };
}

export class AuditLog {
  readonly #store: Store;
  readonly #log: Logger;
  #pending: { readonly entry: NewEntry; readonly timeMs: number }[] = [];
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #isTrimming = false;
  readonly #stopListening: () => void;

  /** @param store Without the recording of its own changes: entries are no subject of entries. */
  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
    this.#stopListening = store.onCommit(({ changes }) => {
      if (changes.some(({ kind }) => kind === "audit")) this.#trim();
    });
  }

  /** Resolves when the entry is in the store. */
  async append(entry: NewEntry): Promise<void> {
    const bounded = boundedEntry(entry, Date.now());
    await this.#store.transaction((tx) => tx.appendAudit(bounded));
  }

  /** Writes the entry soon. Never throws. */
  note(entry: NewEntry): void {
    if (this.#pending.length >= MAX_AUDIT_PENDING) {
      this.#dropped += 1;
      return;
    }
    this.#pending.push({ entry, timeMs: Date.now() });
    this.#timer ??= setTimeout(() => this.flush(), AUDIT_FLUSH_MS);
  }

  /** Writes what was noted. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const pending = this.#pending;
    const dropped = this.#dropped;
    this.#pending = [];
    this.#dropped = 0;
    if (pending.length === 0) return this.#flushing;
    if (dropped > 0) {
      const message = `${dropped} more calls were refused than could be recorded`;
      pending.push({ entry: systemEntry("audit.dropped", "", message), timeMs: Date.now() });
    }
    const write = async (): Promise<void> => {
      try {
        await this.#store.transaction((tx) => {
          for (const { entry, timeMs } of pending) tx.appendAudit(boundedEntry(entry, timeMs));
        });
      } catch (error) {
        this.#log.error({ err: error, entries: pending.length }, "entries of the audit log were lost");
      }
    };
    this.#flushing = this.#flushing.then(write);
    return this.#flushing;
  }

  /** Writes what is left. To be called before the store is closed. */
  async close(): Promise<void> {
    this.#stopListening();
    await this.flush();
  }

  /** Deletes the oldest entries, some at a time: each deletion is a change of the store, too. */
  #trim(): void {
    if (this.#isTrimming || this.#store.count("audit") < MAX_AUDIT_ENTRIES + AUDIT_TRIM_ENTRIES) return;
    this.#isTrimming = true;
    this.#store
      .transaction((tx) => {
        const excess = tx.count("audit") - MAX_AUDIT_ENTRIES;
        if (excess > 0) for (const { key } of tx.list("audit", { limit: excess })) tx.delete("audit", key);
      })
      .catch((error: unknown) => this.#log.warn({ err: error }, "old entries of the audit log could not be deleted"))
      .finally(() => {
        this.#isTrimming = false;
      });
  }
}
