/**
 * Tails: what happens from now on. After a lost connection they go on by themselves and say what was lost: the audit log
 * loses nothing, since its entries are numbered and can be read afterwards; of connections nobody keeps every event.
 */
import type { AccessServiceClient, AuditEntry, ConnectionRecord, OperationsServiceClient } from "@slimfast/proto";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import type { SlimFastError } from "./errors.js";
import type { RetryOptions } from "./options.js";
import { resuming } from "./resuming.js";

export interface TailOptions {
  /** Only what this is true for (AIP-160). Default: everything. */
  readonly filter?: string;
  /** Ends the iteration with a `cancelled` error. */
  readonly signal?: AbortSignal;
}

/** The connection to the server was lost; the tail goes on by itself. */
export interface TailInterruption {
  readonly type: "interrupted";
  readonly error: SlimFastError;
}

export type ConnectionTailItem =
  | { readonly type: "event"; readonly record: ConnectionRecord }
  /**
   * Live connections of these nodes were learnt anew or forgotten (an agent came, went or lost events): who keeps a list of
   * live connections lists these again. An empty name stands for all.
   */
  | { readonly type: "relearned"; readonly nodes: readonly string[] }
  /** So many events were dropped since the last such item, because this reader or an agent was too slow. */
  | { readonly type: "lost"; readonly count: bigint }
  | TailInterruption
  /** It goes on; events between these times are not shown, however many there were. */
  | { readonly type: "resumed"; readonly lostFrom: Date; readonly lostTo: Date };

export type AuditTailItem = { readonly type: "entry"; readonly entry: AuditEntry } | TailInterruption;

/** @throws SlimFastError `cancelled`, or a failure that would come again. */
export async function* tailConnections(
  operations: OperationsServiceClient<DeadlineOptions>,
  { filter = "", signal }: TailOptions,
  retry: Required<RetryOptions>,
): AsyncGenerator<ConnectionTailItem> {
  let droppedBefore = 0n;
  let lostFrom: Date | null = null;
  const answers = resuming(
    (ending) => {
      droppedBefore = 0n;
      return operations.tailConnections({ filter }, { signal: ending });
    },
    { ...retry, signal, silenceMs: Number.POSITIVE_INFINITY },
  );
  for await (const item of answers) {
    if (item.type === "interrupted") {
      lostFrom ??= new Date();
      yield item;
      continue;
    }
    const { events, dropped, relearnedNodes } = item.answer;
    if (lostFrom) yield { type: "resumed", lostFrom, lostTo: events[0] ? timeOf(events[0]) : new Date() };
    lostFrom = null;
    if (dropped > droppedBefore) yield { type: "lost", count: dropped - droppedBefore };
    droppedBefore = dropped;
    if (relearnedNodes.length > 0) yield { type: "relearned", nodes: relearnedNodes };
    for (const record of events) yield { type: "event", record };
  }
}

function timeOf(record: ConnectionRecord): Date {
  return record.closeTime ?? record.openTime ?? new Date();
}

/** @throws SlimFastError `cancelled`, or a failure that would come again. */
export async function* tailAuditEntries(
  access: AccessServiceClient<DeadlineOptions>,
  { filter = "", signal }: TailOptions,
  retry: Required<RetryOptions>,
): AsyncGenerator<AuditTailItem> {
  /** Everything up to it has been shown; null before the first entry. */
  let last: bigint | null = null;
  let isInterrupted = false;
  const answers = resuming((ending) => access.watchAuditEntries({ filter }, { signal: ending }), {
    ...retry,
    signal,
    silenceMs: Number.POSITIVE_INFINITY,
  });
  for await (const item of answers) {
    if (item.type === "interrupted") {
      isInterrupted = true;
      yield item;
      continue;
    }
    // What was written between the end of one stream and the first entry of the next is read from the log.
    const missed: AuditEntry[] = isInterrupted && last !== null ? await entriesAfter(access, last, filter, signal) : [];
    isInterrupted = false;
    for (const entry of [...missed, ...item.answer.entries]) {
      if (last !== null && entry.sequence <= last) continue;
      last = entry.sequence;
      yield { type: "entry", entry };
    }
  }
}

/** Oldest first. */
async function entriesAfter(
  access: AccessServiceClient<DeadlineOptions>,
  sequence: bigint,
  filter: string,
  signal: AbortSignal | undefined,
): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  let pageToken = "";
  do {
    const page = await access.listAuditEntries({ filter, pageToken }, signal ? { signal } : {});
    for (const entry of page.entries) {
      if (entry.sequence <= sequence) return entries.reverse();
      entries.push(entry);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return entries.reverse();
}
