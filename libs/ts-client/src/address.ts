/** Reading of server addresses. Owns the syntax; opens nothing. */
import { resolve } from "node:path";
import { SlimFastError } from "./errors.js";

/**
 * The channel target for `unix:/path` or `host:port` (IPv6 in brackets).
 *
 * @throws SlimFastError `invalid_argument` for anything else.
 */
export function channelTarget(address: string): string {
  if (address.startsWith("unix:")) {
    const path = address.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    // NUL would be an abstract socket, which has no file mode that could protect it.
    if (path !== "" && !path.includes("\0")) return `unix://${resolve(path)}`;
  } else {
    const match = /^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):(\d{1,5})$/.exec(address);
    const port = Number(match?.[2]);
    if (match && port >= 1 && port <= 65_535) return address;
  }
  throw new SlimFastError(
    "invalid_argument",
    `address ${JSON.stringify(address)} is neither unix:/path nor host:port`,
    {
      details: { fieldViolations: [{ field: "address", description: "must be unix:/path or host:port" }] },
    },
  );
}
