/**
 * Pages of lists (AIP-158) with filters (AIP-160).
 *
 * A page token is the key of the last resource that was looked at, so a list goes on correctly although resources come
 * and go between pages: whatever is there all the time is listed exactly once. It is bound to the request's other
 * fields, because with others it would mean something else.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { messageType } from "../domain/descriptors.js";
import { filterOf } from "../domain/filter/filter.js";
import { invalidField } from "../errors.js";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_PAGE_TOKEN_CHARS, MAX_SCANNED_PER_PAGE } from "../limits.js";

export interface ListRequest {
  readonly pageSize: number;
  readonly pageToken: string;
  readonly filter: string;
}

export interface Listing<Item, Message extends object, Key> {
  /** Name of the message in the .proto file. */
  readonly type: string;
  /** What else the request restricts the list to. */
  readonly scope: readonly string[];
  /** How keys look in a page token. */
  readonly key: z.ZodType<Key>;
  readonly keyOf: (item: Item) => Key;
  /** Items in the order of their keys, behind the given one. */
  readonly read: (after: Key | undefined, limit: number) => readonly Item[];
  readonly message: (item: Item) => Message;
}

/** Keys of resources, as lists order them. */
export const NAME_KEY = z.strictObject({ name: z.string().max(63) });
export const NETWORK_AND_NAME_KEY = z.strictObject({ network: z.string().max(63), name: z.string().max(63) });
export const NODE_AND_PORT_KEY = z.strictObject({ node: z.string().max(63), first: z.int().min(0).max(65_535) });

export function pageLimit(pageSize: number): number {
  if (pageSize > MAX_PAGE_SIZE) throw invalidField("page_size", `${pageSize} must be at most ${MAX_PAGE_SIZE}`);
  return pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
}

/** What a token of this list is bound to. */
function fingerprint(type: string, filter: string, scope: readonly string[]): string {
  const text = JSON.stringify([type, filter, ...scope]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 11);
}

function readToken<Key>(schema: z.ZodType<Key>, bound: string, token: string): Key | undefined {
  if (token === "") return undefined;
  let parts: { list: string; after: Key } | undefined;
  if (token.length <= MAX_PAGE_TOKEN_CHARS) {
    try {
      const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
      parts = z.strictObject({ list: z.string(), after: schema }).parse(value) as { list: string; after: Key };
    } catch {
      parts = undefined;
    }
  }
  if (!parts) throw invalidField("page_token", "was not given out by this method");
  if (parts.list !== bound) {
    throw invalidField("page_token", "belongs to a list with another filter: begin again without it");
  }
  return parts.after;
}

function writeToken(list: string, after: unknown): string {
  return Buffer.from(JSON.stringify({ list, after })).toString("base64url");
}

/**
 * One page. It may hold fewer messages than asked for, even none, and still have a next one: a call looks at no more
 * than MAX_SCANNED_PER_PAGE resources.
 */
export function listPage<Item, Message extends object, Key>(
  { pageSize, pageToken, filter }: ListRequest,
  { type, scope, key, keyOf, read, message }: Listing<Item, Message, Key>,
): { messages: Message[]; nextPageToken: string } {
  const limit = pageLimit(pageSize);
  const passes = filterOf<Message>(messageType(type), filter);
  const bound = fingerprint(type, filter, scope);
  let after = readToken(key, bound, pageToken);
  const messages: Message[] = [];
  for (let scanned = 0; scanned < MAX_SCANNED_PER_PAGE; ) {
    // One more than the page takes, so that the last page is known to be the last.
    const wanted = limit - messages.length + 1;
    const items = read(after, wanted);
    for (const item of items) {
      const candidate = message(item);
      if (!passes(candidate)) {
        after = keyOf(item);
        continue;
      }
      if (messages.length === limit) return { messages, nextPageToken: writeToken(bound, after) };
      messages.push(candidate);
      after = keyOf(item);
    }
    if (items.length < wanted) return { messages, nextPageToken: "" };
    scanned += items.length;
  }
  return { messages, nextPageToken: writeToken(bound, after) };
}
