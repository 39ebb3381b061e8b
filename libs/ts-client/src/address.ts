/** Reading of server addresses. Owns the syntax; opens nothing. */
import { resolve } from "node:path";
import { SlimFastError } from "./errors.js";

export type ServerAddress =
  | { readonly kind: "unix"; readonly text: string; readonly target: string }
  | {
      readonly kind: "tcp";
      readonly text: string;
      readonly target: string;
      /** Without the brackets of an IPv6 address. */
      readonly host: string;
      readonly port: number;
    };

/**
 * Reads `unix:/path` or `host:port` (IPv6 in brackets). `target` is what gRPC calls the same.
 *
 * @throws SlimFastError `invalid_argument` for anything else.
 */
export function parseAddress(address: string): ServerAddress {
  if (address.startsWith("unix:")) {
    const path = address.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    // NUL would be an abstract socket, which has no file mode that could protect it.
    if (path !== "" && !path.includes("\0")) return { kind: "unix", text: address, target: `unix://${resolve(path)}` };
  } else {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/\s]+)):(\d{1,5})$/.exec(address);
    const host = match?.[1] ?? match?.[2];
    const port = Number(match?.[3]);
    if (host !== undefined && port >= 1 && port <= 65_535) {
      return { kind: "tcp", text: address, target: address, host, port };
    }
  }
  throw refusedAddress(
    `address ${JSON.stringify(address)} is neither unix:/path nor host:port`,
    "must be unix:/path or host:port",
  );
}

/**
 * Reads one address or several.
 *
 * @throws SlimFastError `invalid_argument` if one is malformed, or there is none.
 */
export function parseAddresses(address: string | readonly string[]): [ServerAddress, ...ServerAddress[]] {
  const [first, ...others] = typeof address === "string" ? [address] : address;
  if (first === undefined) throw refusedAddress("no address is given", "must name at least one server");
  return [parseAddress(first), ...others.map(parseAddress)];
}

/** Whether what is sent there stays on this machine. */
export function isLocal(address: ServerAddress): boolean {
  return address.kind === "unix" || /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(address.host);
}

function refusedAddress(message: string, description: string): SlimFastError {
  return new SlimFastError("invalid_argument", message, {
    details: { fieldViolations: [{ field: "address", description }] },
  });
}
