/**
 * Which controller a command talks to, and as whom: options, then the environment, then the configuration file, then the
 * cluster that is up on this machine. Reads files; opens no connection.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ConnectOptions } from "@slimfast/client";
import { parse } from "yaml";
import { CliError, messageOf } from "../exit-codes.js";

/** The options that every command has that talks to a controller. */
export interface RemoteOptions {
  readonly server?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly context?: string;
}

/** Where and how; null for the cluster that is up on this machine. */
export type RemoteTarget = Pick<ConnectOptions, "address" | "tls" | "token">;

interface Context {
  readonly server: string | readonly string[];
  readonly token?: string;
  readonly ca?: string;
  readonly serverName?: string;
}

interface ConfigurationFile {
  readonly current?: string;
  readonly contexts?: Readonly<Record<string, Context>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function configurationPath(environment: Environment = process.env): string {
  if (environment.SLIMFAST_CONFIG) return environment.SLIMFAST_CONFIG;
  return join(environment.XDG_CONFIG_HOME || join(homedir(), ".config"), "slimfast", "config.yaml");
}

/** @throws CliError `usage` if they cannot be understood. */
export function remoteTarget(options: RemoteOptions, environment: Environment = process.env): RemoteTarget | null {
  const context = contextOf(options, environment);
  const server = options.server ?? (options.context ? undefined : environment.SLIMFAST_SERVER) ?? context?.server;
  const token = options.token ?? (environment.SLIMFAST_TOKEN || undefined) ?? context?.token;
  const ca = options.ca ?? (environment.SLIMFAST_CA || undefined) ?? context?.ca;
  if (server === undefined || server === "") {
    const useless = options.token !== undefined ? "--token" : options.ca !== undefined ? "--ca" : null;
    if (useless === null) return null;
    throw new CliError("usage", `${useless} needs --server`, {
      remedy: "the cluster on this machine asks for neither",
    });
  }
  const address = typeof server === "string" ? server.split(",").map((one) => one.trim()) : [...server];
  const tls = tlsOf(address, ca, context?.serverName);
  return {
    address,
    ...(tls === null ? {} : { tls }),
    ...(token === undefined ? {} : { token: readToken(token) }),
  };
}

/** The file is looked at only where it can matter: not beside --server, SLIMFAST_SERVER or a run directory of one's own. */
function contextOf(options: RemoteOptions, environment: Environment): Context | null {
  if (options.server !== undefined) return null;
  const name = options.context;
  if (name === undefined && (environment.SLIMFAST_SERVER || environment.SLIMFAST_RUN_DIR)) return null;
  const path = configurationPath(environment);
  const file = readConfiguration(path);
  const wanted = name ?? file?.current;
  if (wanted === undefined) return null;
  const found = file?.contexts?.[wanted];
  if (!found) {
    const names = Object.keys(file?.contexts ?? {});
    throw new CliError("usage", `${path} has no context ${wanted}`, {
      remedy: names.length === 0 ? "it has none at all" : `it has: ${names.join(", ")}`,
    });
  }
  if (typeof found.server !== "string" && !Array.isArray(found.server)) {
    throw new CliError("usage", `${path}: contexts.${wanted}.server must be an address or a list of them`);
  }
  return found;
}

function readConfiguration(path: string): ConfigurationFile | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw new CliError("usage", `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    return parse(text) as ConfigurationFile | null;
  } catch (cause) {
    throw new CliError("usage", `${path} is no YAML: ${messageOf(cause)}`, { cause });
  }
}

function tlsOf(addresses: readonly string[], ca: string | undefined, serverName: string | undefined) {
  const name = serverName === undefined ? {} : { serverName };
  if (ca === undefined) return addresses.every(isLocal) ? null : name;
  const fingerprint = /^sha256:(.+)$/.exec(ca)?.[1];
  if (fingerprint !== undefined) return { fingerprint, ...name };
  try {
    return { ca: readFileSync(ca, "utf8"), ...name };
  } catch (cause) {
    throw new CliError("usage", `--ca ${ca} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function isLocal(address: string): boolean {
  return /^(unix:|localhost:|127(\.\d+){3}:|\[::1\]:)/.test(address);
}

/** `@FILE` keeps it out of the list of processes. */
function readToken(text: string): string {
  if (!text.startsWith("@")) return text;
  try {
    return readFileSync(text.slice(1), "utf8").trim();
  } catch (cause) {
    throw new CliError("usage", `the token file ${text.slice(1)} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
