/** The agent's options about who it is: their grammar, and what they mean together. Reads the files that they name. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SlimFastError } from "@slimfast/client";
import type { Command } from "commander";
import type { Logger } from "pino";
import { messageOf } from "../errors.js";
import { WALL_CLOCK } from "./clock.js";
import type { Trust } from "./enrollment.js";
import type { IdentityOptions } from "./node-identity.js";

export interface JoinArguments {
  readonly joinToken?: string;
  readonly joinTokenFile?: string;
  readonly caFile?: string;
  readonly caPin?: string;
  readonly stateDir?: string;
}

export function addJoinOptions(command: Command): Command {
  return command
    .option("--join-token <token>", "to join the cluster with, the first time; others see it in the list of processes")
    .option("--join-token-file <file>", "the same, from a file")
    .option("--ca-file <file>", "authorities of the controllers' certificates (PEM), if they are not the cluster's own")
    .option("--ca-pin <sha256>", "SHA-256 of the cluster's authority, in hex; most join tokens carry it")
    .option("--state-dir <directory>", "for the node's key and certificate; default: /var/lib/slimfast/agents/NODE");
}

export function isNetworkAddress(address: string): boolean {
  return !address.startsWith("unix:");
}

/**
 * Undefined where the node needs no identity: with unix sockets, whose owner is trusted.
 *
 * @throws SlimFastError `invalid_argument` if the options contradict each other, or a file cannot be read.
 */
export function identityOptions(
  { joinToken, joinTokenFile, caFile, caPin, stateDir }: JoinArguments,
  { node, controllers, timeoutMs, log }: NodeSurroundings,
): IdentityOptions | undefined {
  const addresses = controllers.filter(isNetworkAddress);
  if (addresses.length === 0) {
    const useless = Object.entries({
      "--join-token": joinToken,
      "--join-token-file": joinTokenFile,
      "--ca-file": caFile,
      "--ca-pin": caPin,
    });
    const [name] = useless.find(([, value]) => value !== undefined) ?? [];
    if (name !== undefined)
      throw refused(`${name} needs a --controller HOST:PORT: a unix socket asks for no certificate`);
    return undefined;
  }
  if (joinToken !== undefined && joinTokenFile !== undefined) {
    throw refused("--join-token and --join-token-file are two tokens: give one");
  }
  const trust: Trust = {
    ...(caFile === undefined ? {} : { ca: readNamed("--ca-file", caFile) }),
    ...(caPin === undefined ? {} : { pin: readPin(caPin) }),
  };
  return {
    ...{ node, addresses, trust, timeoutMs, log },
    path: join(stateDir ?? `/var/lib/slimfast/agents/${node}`, "identity.pem"),
    clock: WALL_CLOCK,
    joinToken: async () => (joinTokenFile === undefined ? joinToken : await readToken(joinTokenFile)),
  };
}

interface NodeSurroundings {
  readonly node: string;
  readonly controllers: readonly string[];
  readonly timeoutMs: number;
  readonly log: Logger;
}

function readNamed(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw refused(`${option} cannot be read: ${messageOf(error)}`);
  }
}

/** Undefined if the file has been taken away, as it should be once the node has joined. */
async function readToken(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw refused(`--join-token-file cannot be read: ${messageOf(error)}`);
  }
}

function readPin(text: string): string {
  const pin = text
    .replace(/^sha256:/, "")
    .replaceAll(":", "")
    .toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(pin)) throw refused("--ca-pin is no SHA-256 in hex");
  return pin;
}

function refused(message: string): SlimFastError {
  return new SlimFastError("invalid_argument", message);
}
