/** Choice of addresses, VNIs, ids and ports. Pure: what is taken is passed in, what was chosen is returned. */
import { ADDRESS_BITS, type IpPrefix } from "@slimfast/proto";
import type { PortRange, PortReservation } from "./resources.js";

export interface IntegerRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The lowest number of the range that is not taken, or undefined if all are.
 *
 * @param taken In ascending order, without duplicates; read no further than needed. Numbers outside the range are ignored.
 */
export function lowestFree(range: IntegerRange, taken: Iterable<number>): number | undefined {
  let candidate = range.first;
  for (const number of taken) {
    if (number > candidate) break;
    if (number === candidate) candidate += 1;
  }
  return candidate <= range.last ? candidate : undefined;
}

/**
 * The first free number at or after `start`, going round at the end of the range; undefined if all are taken.
 *
 * Addresses are allocated this way, so that an address that became free is not given to another endpoint while others
 * are left: whoever still remembers its last owner gets an error, not a stranger.
 *
 * @param takenFrom The taken numbers that are not less than its argument, in ascending order.
 */
export function nextFree(
  range: IntegerRange,
  start: number,
  takenFrom: (first: number) => Iterable<number>,
): number | undefined {
  const from = start >= range.first && start <= range.last ? start : range.first;
  return (
    lowestFree({ first: from, last: range.last }, takenFrom(from)) ??
    lowestFree({ first: range.first, last: from - 1 }, takenFrom(range.first))
  );
}

export function lastPort(ports: PortRange): number {
  return ports.first + ports.count - 1;
}

export function portsOverlap(one: PortRange, other: PortRange): boolean {
  return one.first <= lastPort(other) && other.first <= lastPort(one);
}

/** `8080`, or `7100-7115`. */
export function formatPorts(ports: PortRange): string {
  return ports.count === 1 ? String(ports.first) : `${ports.first}-${lastPort(ports)}`;
}

/** The reservation of somebody other than `owner` that is in the way of the wanted ports, if there is one. */
export function findPortConflict<Reservation extends Pick<PortReservation, "owner" | "ports">>(
  wanted: PortRange,
  owner: string,
  reservations: Iterable<Reservation>,
): Reservation | undefined {
  for (const reservation of reservations) {
    if (reservation.owner !== owner && portsOverlap(wanted, reservation.ports)) return reservation;
  }
  return undefined;
}

/** Blocks in the order of their first ports, as they lie within the range: the gaps between them. */
function* gaps(range: IntegerRange, taken: readonly PortRange[]): Generator<IntegerRange> {
  let next = range.first;
  for (const block of taken.toSorted((one, other) => one.first - other.first)) {
    if (block.first > next) yield { first: next, last: Math.min(block.first - 1, range.last) };
    next = Math.max(next, lastPort(block) + 1);
    if (next > range.last) return;
  }
  if (next <= range.last) yield { first: next, last: range.last };
}

/** The first port of the lowest free block of `count` ports within the range; undefined if there is none. */
export function lowestFreeBlock(range: IntegerRange, count: number, taken: readonly PortRange[]): number | undefined {
  for (const { first, last } of gaps(range, taken)) {
    if (last - first + 1 >= count) return first;
  }
  return undefined;
}

/** The first port of the free block that lies nearest to the wanted one and has its size; of two, the lower. */
export function nearestFreeBlock(
  range: IntegerRange,
  wanted: PortRange,
  taken: readonly PortRange[],
): number | undefined {
  let nearest: number | undefined;
  for (const { first, last } of gaps(range, taken)) {
    const latest = last - wanted.count + 1;
    if (latest < first) continue;
    const candidate = Math.min(Math.max(wanted.first, first), latest);
    const isNearer = nearest === undefined || Math.abs(candidate - wanted.first) < Math.abs(nearest - wanted.first);
    if (isNearer) nearest = candidate;
  }
  return nearest;
}

/** The lowest subnet of the length that is not taken; undefined if all are. Those taken must have that length, too. */
export function lowestFreeSubnet(prefix: IpPrefix, bits: number, taken: readonly IpPrefix[]): IpPrefix | undefined {
  const size = 1n << BigInt(ADDRESS_BITS[prefix.family] - bits);
  // They were all the lowest when they were given out, so their numbers are no greater than there were at a time.
  const numbers = taken.map(({ first }) => Number((first - prefix.first) / size)).sort((one, other) => one - other);
  const number = lowestFree({ first: 0, last: 2 ** (bits - prefix.bits) - 1 }, numbers);
  if (number === undefined) return undefined;
  const first = prefix.first + BigInt(number) * size;
  return { family: prefix.family, first, last: first + size - 1n, bits };
}
