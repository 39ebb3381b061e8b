/** A store whose transactions write what they changed into the audit log, with the change itself. */
import type { Token } from "../domain/resources.js";
import { type CurrentCall, currentCall } from "../security/call-context.js";
import type { Change, Store, StoreTransaction } from "../store/store.js";
import { boundedEntry, type NewEntry } from "./audit-log.js";
import { resourceJson, resourceName } from "./resource-json.js";

type Kind = Change["kind"];

/** What people ask about; the rest is the controllers' own bookkeeping. */
const RECORDED: ReadonlySet<Kind> = new Set([
  "node",
  "network",
  "endpoint",
  "reservation",
  "policy",
  "token",
  "certificates",
  "authority",
]);

/** Kinds whose mere renewal is no event: the last use of a token. */
function isBookkeeping({ kind, before, after }: Change): boolean {
  if (kind !== "token" || !before || !after) return false;
  const same = (token: Token) => JSON.stringify({ ...token, lastUseTimeMs: 0, revision: 0 });
  return same(before) === same(after);
}

function verb({ before, after }: { before?: unknown; after?: unknown }): string {
  if (!before) return "created";
  return after ? "updated" : "deleted";
}

function entryOf(change: Change, call: CurrentCall | undefined): NewEntry {
  return {
    actor: call?.actor ?? "system",
    action: call?.action ?? `${change.kind}.${verb(change)}`,
    resource: resourceName(change),
    code: "OK",
    message: "",
    before: change.before ? resourceJson(change.kind, change.before) : "",
    after: change.after ? resourceJson(change.kind, change.after) : "",
    peer: call?.peer ?? "",
  };
}

/** @returns Whether there was anything to record. */
function record(tx: StoreTransaction, call: CurrentCall | undefined, timeMs: number): boolean {
  const changes = tx.changes().filter((change) => RECORDED.has(change.kind) && !isBookkeeping(change));
  for (const change of changes) tx.appendAudit(boundedEntry(entryOf(change, call), timeMs));
  return changes.length > 0;
}

/** The same store; what is changed through it is recorded as the deed of the call that is being answered. */
export function auditedStore(store: Store): Store {
  const transaction = async <Result>(change: (tx: StoreTransaction) => Result): Promise<Result> => {
    // The function runs later, together with those of other calls.
    const call = currentCall();
    const timeMs = Date.now();
    let isRecorded = false;
    const result = await store.transaction((tx) => {
      const value = change(tx);
      isRecorded = record(tx, call, timeMs);
      return value;
    });
    if (call && isRecorded) call.isRecorded = true;
    return result;
  };
  const bound = new Map<PropertyKey, unknown>();
  return new Proxy({} as Store, {
    get(_, name) {
      if (name === "transaction") return transaction;
      const value: unknown = Reflect.get(store, name, store);
      if (typeof value !== "function") return value;
      if (!bound.has(name)) bound.set(name, value.bind(store));
      return bound.get(name);
    },
  });
}
