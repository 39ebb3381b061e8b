/** Where the controller listens: which addresses are allowed, and what to do with a socket file that is already there. */
import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { resolve } from "node:path";
import { StartupError } from "./errors.js";
import { SOCKET_PROBE_MS } from "./limits.js";

export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/**
 * Reads `unix:/path` or `host:port` (port 0: any free one).
 *
 * @throws StartupError `address_refused` for anything else, and for a host that is not loopback.
 */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw new StartupError("address_refused", "unix: needs the path of a socket after it");
    return { kind: "unix", path: resolve(path) };
  }
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match?.[1] || port > 65_535) {
    throw new StartupError("address_refused", `${JSON.stringify(text)} is neither unix:/path nor host:port`);
  }
  const host = match[1];
  if (!/^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host)) {
    throw new StartupError(
      "address_refused",
      `${text} is not a loopback address, and there is no TLS yet: listen on unix:/path, 127.0.0.1:PORT or [::1]:PORT`,
    );
  }
  return { kind: "tcp", host, port };
}

export function formatListenAddress(address: ListenAddress): string {
  return address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolveAnswer) => {
    const socket = connect(path);
    const answer = (value: boolean) => {
      socket.destroy();
      resolveAnswer(value);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // Only these say that nobody listens; anything else (a full backlog, no permission) is somebody's socket.
      answer(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
    socket.setTimeout(SOCKET_PROBE_MS, () => answer(true));
  });
}

/**
 * Removes a socket file on which nobody answers.
 *
 * @throws StartupError `address_in_use` if somebody does, or the file is not a socket.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new StartupError("address_refused", `${path} cannot be used: ${error.message}`, error);
  });
  if (!found) return;
  if (!found.isSocket()) {
    throw new StartupError("address_in_use", `${path} exists and is not a socket: remove it, or listen elsewhere`);
  }
  if (await answers(path)) {
    throw new StartupError("address_in_use", `somebody answers on ${path}: stop that controller, or listen elsewhere`);
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") {
      throw new StartupError("address_in_use", `stale socket ${path} cannot be removed: ${error.message}`, error);
    }
  });
}
