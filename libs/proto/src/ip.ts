/**
 * IP addresses and prefixes, IPv4 and IPv6, as text and as numbers. Pure.
 *
 * The reading is strict on purpose: what inet_aton takes beside the dotted quad (octal, hexadecimal, fewer parts) has misled
 * people and access checks alike, and zones (`%eth0`) mean nothing in an overlay. Writing is canonical, for IPv6 as in RFC
 * 5952, so that equal addresses are equal texts.
 */

export type IpFamily = 4 | 6;

export interface IpAddress {
  readonly family: IpFamily;
  readonly value: bigint;
}

/** Addresses first .. last of one family. */
export interface IpRange {
  readonly family: IpFamily;
  readonly first: bigint;
  readonly last: bigint;
}

export interface IpPrefix extends IpRange {
  readonly bits: number;
}

export type IpPrefixProblem = "malformed" | "host_bits_set";

export const ADDRESS_BITS: Readonly<Record<IpFamily, number>> = { 4: 32, 6: 128 };

const GROUPS = 8;

/** Undefined if it is neither a dotted quad nor an IPv6 address. */
export function parseIp(text: string): IpAddress | undefined {
  const family = text.includes(":") ? 6 : 4;
  const value = family === 6 ? ipv6Value(text) : ipv4Value(text);
  return value === undefined ? undefined : { family, value };
}

function ipv4Value(text: string): bigint | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let value = 0;
  for (const part of match.slice(1)) {
    if (part.length > 1 && part.startsWith("0")) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return BigInt(value);
}

function ipv6Value(text: string): bigint | undefined {
  const [head = "", tail, ...more] = text.split("::");
  const before = groupsOf(head, tail === undefined);
  const after = groupsOf(tail ?? "", true);
  if (more.length > 0 || !before || !after) return undefined;
  // The two colons stand for one group at least.
  const missing = GROUPS - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...before, ...new Array<number>(missing).fill(0), ...after];
  return groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

/** @param isEnd Whether the address ends here: the last 32 bits may be a dotted quad. */
function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (/^[\da-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const quad = isEnd && index === parts.length - 1 ? ipv4Value(part) : undefined;
    if (quad === undefined) return undefined;
    groups.push(Number(quad >> 16n), Number(quad & 0xffffn));
  }
  return groups;
}

export function formatIp({ family, value }: IpAddress): string {
  return family === 6 ? formatIpv6(value) : formatIpv4(value);
}

function formatIpv4(value: bigint): string {
  const number = Number(value);
  return [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255].join(".");
}

function formatIpv6(value: bigint): string {
  if (value >> 32n === 0xffffn) return `::ffff:${formatIpv4(value & 0xffff_ffffn)}`;
  const groups = Array.from({ length: GROUPS }, (_, index) => Number((value >> BigInt(16 * (7 - index))) & 0xffffn));
  const zeros = longestZeros(groups);
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

/** The longest run of groups that are 0, the first of equally long ones. */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > longest.length) longest = { start, length: index + 1 - start };
  }
  return longest;
}

/** Reads CIDR notation. The size of the prefix is not judged here. */
export function parseIpPrefix(text: string): IpPrefix | IpPrefixProblem {
  const [, address = "", length = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const base = parseIp(address);
  const bits = Number(length);
  if (!base || bits > ADDRESS_BITS[base.family]) return "malformed";
  const prefix = prefixOf(base, bits);
  return prefix.first === base.value ? prefix : "host_bits_set";
}

/** The prefix of that length that the address lies in. */
export function prefixOf({ family, value }: IpAddress, bits: number): IpPrefix {
  const size = 1n << BigInt(ADDRESS_BITS[family] - bits);
  const first = value - (value % size);
  return { family, first, last: first + size - 1n, bits };
}

export function formatIpPrefix({ family, first, bits }: IpPrefix): string {
  return `${formatIp({ family, value: first })}/${bits}`;
}

/** Whether the whole of the range lies in the other one. */
export function containsRange(outer: IpRange, { family, first, last }: IpRange): boolean {
  return outer.family === family && outer.first <= first && last <= outer.last;
}

export function containsIp(range: IpRange, { family, value }: IpAddress): boolean {
  return range.family === family && range.first <= value && value <= range.last;
}
