/**
 * Pages of connection records, newest first. Pure.
 *
 * The order is that of opening times, and of ids among equals; it is the same at all controllers, so a page token, which
 * is the place of the last record of its page, means the same to each of them.
 */
import type * as proto from "@slimfast/proto";
import { z } from "zod";
import { invalidField } from "../errors.js";

interface Place {
  readonly openMs: number;
  readonly id: string;
}

function placeOf({ openTime, id }: proto.ConnectionRecord): Place {
  return { openMs: openTime?.getTime() ?? 0, id };
}

/** Negative if the first one is newer. */
function compare(one: Place, other: Place): number {
  if (one.openMs !== other.openMs) return other.openMs - one.openMs;
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}

function newestFirst(one: proto.ConnectionRecord, other: proto.ConnectionRecord): number {
  return compare(placeOf(one), placeOf(other));
}

const TOKEN = z.tuple([z.number(), z.string()]);

export function readPlace(token: string): Place | undefined {
  if (token === "") return undefined;
  try {
    const [openMs, id] = TOKEN.parse(JSON.parse(Buffer.from(token, "base64url").toString()));
    return { openMs, id };
  } catch {
    throw invalidField("page_token", "was not given out by this method");
  }
}

function tokenAfter(record: proto.ConnectionRecord): string {
  const { openMs, id } = placeOf(record);
  return Buffer.from(JSON.stringify([openMs, id])).toString("base64url");
}

/** Collects the newest `limit` records behind a place out of any number, without keeping the others. */
export class NewestPage {
  readonly #limit: number;
  readonly #after: Place | undefined;
  #kept: proto.ConnectionRecord[] = [];
  /** The last place that still matters, once more than enough have been seen. */
  #bound: Place | undefined;
  #behind = 0;
  total = 0;

  constructor(limit: number, after: Place | undefined) {
    this.#limit = limit;
    this.#after = after;
  }

  add(record: proto.ConnectionRecord): void {
    this.total += 1;
    const place = placeOf(record);
    if (this.#after && compare(place, this.#after) <= 0) return;
    this.#behind += 1;
    if (this.#bound && compare(place, this.#bound) > 0) return;
    this.#kept.push(record);
    if (this.#kept.length >= 4 * this.#limit + 64) this.#shrink();
  }

  #shrink(): void {
    this.#kept.sort(newestFirst);
    this.#kept.length = Math.min(this.#kept.length, this.#limit);
    const last = this.#kept.at(-1);
    this.#bound = last && this.#kept.length === this.#limit ? placeOf(last) : undefined;
  }

  page(): proto.ListConnectionRecordsResponse {
    this.#shrink();
    const last = this.#kept.at(-1);
    const isLastPage = this.#behind <= this.#kept.length || !last;
    return { connections: this.#kept, nextPageToken: isLastPage ? "" : tokenAfter(last), totalSize: this.total };
  }
}

/** One page out of those of several controllers, which all had the same limit and token. */
export function mergePages(
  pages: readonly proto.ListConnectionRecordsResponse[],
  limit: number,
): proto.ListConnectionRecordsResponse {
  const all = pages.flatMap(({ connections }) => connections).sort(newestFirst);
  const connections = all.slice(0, limit);
  const last = connections.at(-1);
  const isLastPage = !last || (all.length <= limit && pages.every(({ nextPageToken }) => nextPageToken === ""));
  return {
    connections,
    nextPageToken: isLastPage ? "" : tokenAfter(last),
    totalSize: pages.reduce((sum, { totalSize }) => sum + totalSize, 0),
  };
}
