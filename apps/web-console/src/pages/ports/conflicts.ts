/** Who has the ports that somebody wants, and which are free instead: as far as the page knows. The controller decides. Pure. */
import { SlimFastError } from "@slimfast/client/web";
import { PortPurpose, type PortRange, type PortReservation } from "@slimfast/proto";

export const MAX_PORT = 65_535;

/** Where the controller looks for a free block by itself (docs/api.md). */
const SEARCHED = [20_000, 32_767] as const;
const LEAST_FREE = 1_024;

export const PURPOSES: readonly string[] = ["", "front", "published", "static"];

export function purposeOf({ purpose }: PortReservation): string {
  return PURPOSES[purpose] ?? "";
}

export function isStatic({ purpose }: PortReservation): boolean {
  return purpose === PortPurpose.PORT_PURPOSE_STATIC;
}

function overlap(one: PortRange, other: PortRange): boolean {
  return one.first < other.first + other.count && other.first < one.first + one.count;
}

/** Reservations of the node that hold some of the ports, but for the one that is being changed. */
export function holdersOf(
  reservations: readonly PortReservation[],
  node: string,
  wanted: PortRange,
  changed = "",
): PortReservation[] {
  return reservations.filter(
    ({ node: its, name, ports }) =>
      its === node && ports !== undefined && (name === "" || name !== changed) && overlap(ports, wanted),
  );
}

/** The nearest block of that size above or below which nobody has; null if there is none. */
export function nearestFree(
  reservations: readonly PortReservation[],
  node: string,
  wanted: PortRange,
  changed = "",
): number | null {
  const taken = reservations.flatMap(({ node: its, name, ports }) =>
    its === node && ports && (name === "" || name !== changed) ? [ports] : [],
  );
  const isFree = (first: number): boolean =>
    first >= LEAST_FREE &&
    first + wanted.count - 1 <= MAX_PORT &&
    !taken.some((range) => overlap(range, { first, count: wanted.count }));
  const start = wanted.first === 0 ? SEARCHED[0] : wanted.first;
  // A free block next to a given place begins there, just after something that is taken, or ends just before it.
  const places = [start, LEAST_FREE, ...taken.flatMap(({ first, count }) => [first + count, first - wanted.count])];
  const free = places.filter(isFree).sort((a, b) => Math.abs(a - start) - Math.abs(b - start) || b - a);
  return free[0] ?? null;
}

/** What the controller's refusal says: by whom the ports are taken, and what is free instead. */
export function conflictOf(error: unknown): { readonly owner: string; readonly free: number | null } | null {
  if (!(error instanceof SlimFastError) || error.code !== "already_exists") return null;
  const { info, resources } = error.details;
  const free = Number(info.metadata.free_first ?? 0);
  return { owner: resources[0]?.owner ?? "", free: free > 0 ? free : null };
}
