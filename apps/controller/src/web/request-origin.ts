/**
 * Who sent a request that comes with a session's cookie: the console itself, or some other page in the same browser.
 *
 * Three things must hold, each of which alone would do: a header that no form can send and that makes other origins ask
 * first (and be refused, since nothing here answers such questions); Origin, where the browser sends it, names this
 * server; Sec-Fetch-Site, where the browser sends it, says same-origin.
 */
import type { IncomingHttpHeaders } from "node:http";

/** The header that the console adds to each of its requests. */
export const CONSOLE_HEADER = "x-slimfast-console";

/** Why the request is refused; undefined if it may pass. */
export function foreignOrigin(headers: IncomingHttpHeaders): string | undefined {
  if (headers[CONSOLE_HEADER] !== "1") return `the header ${CONSOLE_HEADER}: 1 is missing`;
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin") return "the request comes from another site";
  const { origin, host } = headers;
  if (origin === undefined) return undefined;
  if (!URL.canParse(origin) || host === undefined || new URL(origin).host !== host) {
    return "the request comes from another origin";
  }
  return undefined;
}
