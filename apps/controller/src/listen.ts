/** Where the controller listens: which addresses are allowed, and what to do with a socket file that is already there. */
import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { resolve } from "node:path";
import { StartupError } from "./errors.js";
import { SOCKET_PROBE_MS } from "./limits.js";

export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/**
 * Reads `unix:/path` or `host:port` (port 0: any free one).
 *
 * @param options.tls Whether TCP listeners have TLS.
 * @throws StartupError `address_refused` for anything else, and for a host that is not loopback where there is no TLS.
 */
export function parseListenAddress(text: string, options: { readonly tls: boolean } = { tls: false }): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw new StartupError("address_refused", "unix: needs the path of a socket after it");
    return { kind: "unix", path: resolve(path) };
  }
  const { host, port } = parseHostPort(text);
  if (!options.tls && !isLoopback(host)) {
    throw new StartupError(
      "address_refused",
      `${text} is not a loopback address, and calls would cross the network in the clear: add --tls, or listen on ` +
        "unix:/path, 127.0.0.1:PORT or [::1]:PORT",
    );
  }
  return { kind: "tcp", host, port };
}

/** @throws StartupError `address_refused` */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match?.[1] || port > 65_535) {
    throw new StartupError("address_refused", `${JSON.stringify(text)} is neither unix:/path nor host:port`);
  }
  return { host: match[1], port };
}

export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host);
}

const ALL_INTERFACES = new Set(["0.0.0.0", "[::]"]);

/** Names and addresses under which clients reach what listens there: those that its certificate has to have. */
export function serverNames(listen: readonly ListenAddress[], advertised: readonly string[]): string[] {
  const hosts = listen.flatMap((address) => (address.kind === "tcp" ? [address.host] : []));
  const isEverywhere = hosts.some((host) => ALL_INTERFACES.has(host));
  const interfaces = isEverywhere ? interfaceAddresses() : [];
  return [
    ...new Set([
      "localhost",
      "127.0.0.1",
      "::1",
      ...hosts.filter((host) => !ALL_INTERFACES.has(host)).map(withoutBrackets),
      ...(isEverywhere ? [hostname()] : []),
      ...interfaces,
      ...advertised
        .filter((text) => !text.startsWith("unix:"))
        .map((text) => withoutBrackets(parseHostPort(text).host)),
    ]),
  ];
}

/**
 * Under which others reach it, the best first: what the operator says, the network, loopback if there is nothing else (all
 * is on one machine then), unix sockets. All interfaces are as many addresses as the machine has.
 */
export function reachableAddresses(listening: readonly ListenAddress[], advertised: readonly string[]): string[] {
  const everywhere = interfaceAddresses();
  const tcp = listening.flatMap((address) => {
    if (address.kind === "unix") return [];
    if (!ALL_INTERFACES.has(address.host)) return [address];
    const isUsable = (host: string) => address.host === "[::]" || !host.includes(":");
    return everywhere.filter(isUsable).map((host) => ({ ...address, host: host.includes(":") ? `[${host}]` : host }));
  });
  const network = tcp.filter(({ host }) => !isLoopback(host)).map(formatListenAddress);
  const near = [...advertised, ...network].length > 0 ? [] : tcp.map(formatListenAddress);
  const sockets = listening.filter(({ kind }) => kind === "unix").map(formatListenAddress);
  return [...new Set([...advertised, ...network, ...near, ...sockets])];
}

/** Of the machine, those aside that mean something on one link only. */
function interfaceAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.map(({ address }) => address).filter((address) => !address.startsWith("fe80:"));
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
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
