/** Choice of addresses, VNIs, ids and ports. Pure: what is taken is passed in, what was chosen is returned. */
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
export function findPortConflict(
  wanted: PortRange,
  owner: string,
  reservations: Iterable<PortReservation>,
): PortReservation | undefined {
  for (const reservation of reservations) {
    if (reservation.owner !== owner && portsOverlap(wanted, reservation.ports)) return reservation;
  }
  return undefined;
}
