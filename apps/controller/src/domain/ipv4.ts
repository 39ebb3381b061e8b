/**
 * IPv4 addresses and prefixes as numbers. Pure.
 *
 * The reading is strict on purpose: what inet_aton takes beside the dotted quad (octal, hexadecimal, fewer parts) has
 * misled people and access checks alike.
 */

/** The address as an unsigned 32-bit number, or undefined if it is not a dotted quad. */
export function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let value = 0;
  for (const part of match.slice(1)) {
    if (part.length > 1 && part.startsWith("0")) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

export function formatIpv4(value: number): string {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".");
}

/** Addresses first .. last. */
export interface AddressRange {
  readonly first: number;
  readonly last: number;
}

export interface Prefix extends AddressRange {
  readonly bits: number;
}

export type PrefixProblem = "malformed" | "host_bits_set";

/** Reads CIDR notation. The size of the prefix is not judged here. */
export function parsePrefix(text: string): Prefix | PrefixProblem {
  const match = /^([\d.]+)\/(\d|[12]\d|3[0-2])$/.exec(text);
  const first = match ? parseIpv4(match[1] ?? "") : undefined;
  if (!match || first === undefined) return "malformed";
  const bits = Number(match[2]);
  const size = 2 ** (32 - bits);
  if (first % size !== 0) return "host_bits_set";
  return { first, last: first + size - 1, bits };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIpv4(prefix.first)}/${prefix.bits}`;
}

/** What endpoints can have: the first and the last address of the prefix are reserved, and nothing else. */
export function endpointAddresses(prefix: Prefix): AddressRange {
  return { first: prefix.first + 1, last: prefix.last - 1 };
}

export function contains(range: AddressRange, address: number): boolean {
  return address >= range.first && address <= range.last;
}

const SPECIAL: readonly (AddressRange & { readonly use: string })[] = [
  ["0.0.0.0/8", "“this network” (RFC 1122)"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local addresses"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved (RFC 1112)"],
].map(([text, use]) => {
  const prefix = parsePrefix(text ?? "");
  if (typeof prefix === "string") throw new Error(`table of special prefixes: ${text} is ${prefix}`);
  return { first: prefix.first, last: prefix.last, use: use ?? "" };
});

/** What an address in the range is for if it cannot be a container's, else undefined. */
export function specialUse(range: AddressRange): string | undefined {
  return SPECIAL.find((special) => range.first <= special.last && range.last >= special.first)?.use;
}
