/**
 * Page sizes and tokens of the lists. Pure.
 *
 * A token is the key of the last item of its page, so a list goes on correctly although items come and go between pages.
 */
import { z } from "zod";
import { invalidField } from "../errors.js";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../limits.js";

export function pageLimit(pageSize: number): number {
  if (pageSize > MAX_PAGE_SIZE) throw invalidField("page_size", `${pageSize} must be at most ${MAX_PAGE_SIZE}`);
  return pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
}

const NAME = z.tuple([z.string()]);
const NETWORK_AND_NAME = z.tuple([z.string(), z.string()]);
const NODE_AND_PORT = z.tuple([z.string(), z.number()]);

function readToken<Key>(key: z.ZodType<Key>, token: string): Key | undefined {
  if (token === "") return undefined;
  try {
    return key.parse(JSON.parse(Buffer.from(token, "base64url").toString()));
  } catch {
    throw invalidField("page_token", "was not given out by this method");
  }
}

export function nameAfter(token: string): { after?: string } {
  const key = readToken(NAME, token);
  return key ? { after: key[0] } : {};
}

export function endpointAfter(token: string): { after?: { network: string; name: string } } {
  const key = readToken(NETWORK_AND_NAME, token);
  return key ? { after: { network: key[0], name: key[1] } } : {};
}

export function reservationAfter(token: string): { after?: { node: string; first: number } } {
  const key = readToken(NODE_AND_PORT, token);
  return key ? { after: { node: key[0], first: key[1] } } : {};
}

/**
 * Cuts what was read to one page.
 *
 * @param items Read with a limit of one more than the page takes, so that the last page is known to be the last.
 */
export function cutPage<Item>(
  items: readonly Item[],
  limit: number,
  keyOf: (item: Item) => readonly (string | number)[],
): { items: Item[]; nextPageToken: string } {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  const isLastPage = items.length <= limit || last === undefined;
  return {
    items: page,
    nextPageToken: isLastPage ? "" : Buffer.from(JSON.stringify(keyOf(last))).toString("base64url"),
  };
}
