/**
 * Checks of single fields against what the .proto files promise, and the collection of what is wrong with a request.
 * Pure.
 *
 * `requests/` makes whole requests of them. Whether a well-formed request can be done (conflicts, missing resources) is
 * for the services.
 */
import {
  formatIpPrefix,
  type IpAddress,
  type IpFamily,
  type IpPrefix,
  parseIp,
  parseIpPrefix,
  prefixOf,
} from "@slimfast/proto";
import { ClusterError, type FieldViolation, invalidField } from "../errors.js";
import {
  MAX_DESCRIPTION_CHARS,
  MAX_LABEL_KEY_CHARS,
  MAX_LABEL_VALUE_CHARS,
  MAX_LABELS,
  MAX_LEASE_MS,
  MAX_NAME_CHARS,
  MAX_PORT,
  MAX_REQUEST_ID_CHARS,
  MIN_LEASE_MS,
} from "../limits.js";
import type { PortRange } from "./resources.js";

/** Collects the violations of one request, so that its caller learns of all of them at once. */
export class Violations {
  readonly #fields: FieldViolation[] = [];

  add(field: string, description: string): void {
    this.#fields.push({ field, description });
  }

  get any(): boolean {
    return this.#fields.length > 0;
  }

  error(): ClusterError {
    const message = this.#fields.map(({ field, description }) => `${field} ${description}`).join("; ");
    return new ClusterError("invalid_argument", message, { fields: this.#fields });
  }

  /** @throws ClusterError if there are any. */
  throwIfAny(): void {
    if (this.any) throw this.error();
  }
}

/** The text as it can stand in a message: in quotes, and no longer than makes sense. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

function nameProblem(name: string): string | undefined {
  if (name === "") return "must not be empty";
  if (name.length > MAX_NAME_CHARS) return `has ${name.length} characters, at most ${MAX_NAME_CHARS} are allowed`;
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) {
    return `${JSON.stringify(name)} must be a DNS label: lower-case letters, digits and inner hyphens`;
  }
  return undefined;
}

export function checkName(violations: Violations, field: string, name: string): void {
  const problem = nameProblem(name);
  if (problem) violations.add(field, problem);
}

/** Checks a single name, as in a Get request. */
export function validName(field: string, name: string): string {
  const problem = nameProblem(name);
  if (problem) throw invalidField(field, problem);
  return name;
}

/** Checks a name by which a list is restricted; an empty one restricts nothing. */
export function validNameOrEmpty(field: string, name: string): string {
  return name === "" ? name : validName(field, name);
}

const PREFIX_KINDS = { 4: "an IPv4 prefix", 6: "an IPv6 prefix", any: "an IPv4 or IPv6 prefix" } as const;
const EXAMPLES = { 4: "10.32.0.0/16", 6: "fd00:32::/64", any: "10.32.0.0/16 or fd00:32::/64" } as const;

/** Reads CIDR notation of any length; problems are noted. */
export function readPrefix(
  violations: Violations,
  field: string,
  text: string,
  wanted: IpFamily | "any",
): IpPrefix | undefined {
  const prefix = parseIpPrefix(text);
  if (prefix === "host_bits_set") {
    const [address = "", bits = ""] = text.split("/");
    const base = parseIp(address);
    const meant = base && formatIpPrefix(prefixOf(base, Number(bits)));
    violations.add(field, `${text} has host bits set; did you mean ${meant}?`);
    return undefined;
  }
  if (prefix === "malformed" || (wanted !== "any" && prefix.family !== wanted)) {
    const example = `for example ${EXAMPLES[wanted]}`;
    violations.add(field, `${shown(text)} must be ${PREFIX_KINDS[wanted]} in CIDR notation, ${example}`);
    return undefined;
  }
  return prefix;
}

/** Reads an address of the family; empty: undefined. Problems are noted. */
export function readAddress(
  violations: Violations,
  field: string,
  text: string,
  family: IpFamily,
): IpAddress | undefined {
  if (text === "") return undefined;
  const address = parseIp(text);
  if (address?.family === family) return address;
  const form = family === 4 ? "an IPv4 dotted quad" : "an IPv6 address, for example fd00:32::5";
  violations.add(field, `${shown(text)} must be ${form}, or empty`);
  return undefined;
}

export function checkPort(violations: Violations, field: string, port: number): void {
  if (port < 1 || port > MAX_PORT) violations.add(field, `${port} must be between 1 and ${MAX_PORT}`);
}

export function checkPortRange(violations: Violations, field: string, { first, count }: PortRange): void {
  checkPort(violations, `${field}.first`, first);
  if (count < 1) {
    violations.add(`${field}.count`, "must be at least 1");
  } else if (first + count - 1 > MAX_PORT) {
    violations.add(`${field}.count`, `${count} makes the block end after port ${MAX_PORT}`);
  }
}

const LABEL_KEY = /^[a-zA-Z0-9]([-_./a-zA-Z0-9]*[a-zA-Z0-9])?$/;
const LABEL_VALUE = /^([a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?)?$/;

export function checkLabels(violations: Violations, field: string, labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    violations.add(field, `has ${entries.length} entries, at most ${MAX_LABELS} are allowed`);
    return;
  }
  for (const [key, value] of entries) {
    if (key.length > MAX_LABEL_KEY_CHARS || !LABEL_KEY.test(key)) {
      violations.add(
        field,
        `key ${shown(key)} must be 1 to ${MAX_LABEL_KEY_CHARS} letters, digits and inner -, _, . or /`,
      );
    } else if (value.length > MAX_LABEL_VALUE_CHARS || !LABEL_VALUE.test(value)) {
      violations.add(
        `${field}[${key}]`,
        `${shown(value)} must be empty, or 1 to ${MAX_LABEL_VALUE_CHARS} letters, digits and inner -, _ or .`,
      );
    }
  }
}

export function checkDescription(violations: Violations, field: string, description: string): void {
  const length = [...description].length;
  if (length > MAX_DESCRIPTION_CHARS) {
    violations.add(field, `has ${length} characters, at most ${MAX_DESCRIPTION_CHARS} are allowed`);
  }
}

/** google.protobuf.Duration as ts-proto reads it. */
export interface DurationMessage {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Milliseconds, rounded up so that nothing lasts shorter than asked for; undefined if it is no valid Duration. */
export function durationMs({ seconds, nanos }: DurationMessage): number | undefined {
  const isWellFormed = Math.abs(nanos) < 1e9 && !(seconds > 0n && nanos < 0) && !(seconds < 0n && nanos > 0);
  return isWellFormed ? Number(seconds) * 1_000 + Math.ceil(nanos / 1e6) : undefined;
}

/** The length of a lease in milliseconds: undefined if it is not set, 0 for never where that can be said. */
export function readLease(
  violations: Violations,
  lease: DurationMessage | undefined,
  options: { readonly isNeverAllowed: boolean },
): number | undefined {
  if (!lease) return undefined;
  const ms = durationMs(lease);
  if (ms === 0 && options.isNeverAllowed) return 0;
  if (ms === undefined || ms < MIN_LEASE_MS || ms > MAX_LEASE_MS) {
    const never = options.isNeverAllowed ? ", or 0 for one that does not end" : "";
    violations.add("lease", `must be between ${MIN_LEASE_MS / 1_000} s and ${MAX_LEASE_MS / 86_400_000} days${never}`);
    return undefined;
  }
  return ms;
}

/** Checks the id by which a repeated creation is known again; empty: none. */
export function validRequestId(requestId: string): string {
  if (requestId.length > MAX_REQUEST_ID_CHARS || !/^[ -~]*$/.test(requestId)) {
    throw invalidField("request_id", `must be at most ${MAX_REQUEST_ID_CHARS} printable ASCII characters`);
  }
  return requestId;
}
