/** Which store a controller has: reads the option, opens it. */
import { StartupError } from "../errors.js";
import { type EtcdAccessOptions, isEmptyAccess, readEtcdAccess } from "./etcd/etcd-access.js";
import { openSqliteStore } from "./sqlite-store.js";
import type { Store } from "./store.js";

export type StoreLocation =
  | { readonly kind: "sqlite"; readonly directory: string }
  | { readonly kind: "etcd"; readonly hosts: readonly string[] };

/**
 * Reads `sqlite:DIRECTORY` or `etcd:HOST:PORT[,HOST:PORT…]`.
 *
 * @throws StartupError `state_unusable` for anything else.
 */
export function parseStoreLocation(text: string): StoreLocation {
  const directory = /^sqlite:(.+)$/.exec(text)?.[1];
  if (directory !== undefined) return { kind: "sqlite", directory };
  const hosts = /^etcd:(.+)$/.exec(text)?.[1]?.split(",") ?? [];
  const isHost = (host: string) => /^(\[[0-9a-fA-F:.]+\]|[^:/\s,]+):\d{1,5}$/.test(host);
  if (hosts.length > 0 && hosts.every(isHost)) return { kind: "etcd", hosts };
  throw new StartupError(
    "state_unusable",
    `${JSON.stringify(text)} is no store: give sqlite:DIRECTORY or etcd:HOST:PORT[,HOST:PORT]`,
  );
}

/** @throws StartupError if it cannot be used. */
export async function openStore(location: StoreLocation, etcd: EtcdAccessOptions = {}): Promise<Store> {
  if (location.kind === "etcd") {
    const access = readEtcdAccess(etcd, location.hosts);
    // Half of what a controller loads, for those that need it.
    const { openEtcdStore } = await import("./etcd/etcd-store.js");
    return await openEtcdStore(location.hosts, access);
  }
  if (isEmptyAccess(etcd)) return openSqliteStore(location.directory);
  throw new StartupError("state_unusable", "the --etcd options need --store etcd:HOST:PORT");
}
