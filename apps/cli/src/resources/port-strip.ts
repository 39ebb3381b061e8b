/** The host ports of a node at a glance, and the free blocks between what is taken. Pure. */
import type { PortRange, PortReservation } from "@slimfast/proto";
import { PORT_PURPOSE } from "./enums.js";
import { formatPorts } from "./values.js";

/** Below are the privileged ones, which nobody reserves by accident. */
const FIRST_FREE = 1_024;
const LAST = 65_535;
const CELLS = 64;
const PORTS_PER_CELL = 1_024;
const MARKS: Readonly<Record<string, string>> = { front: "F", published: "p", static: "S" };

/** Ranges of at least `count` ports that nobody has, from 1024 up. */
export function freeRanges(reservations: readonly Pick<PortReservation, "ports">[], count: number): PortRange[] {
  const taken = reservations
    .flatMap(({ ports }) => (ports ? [ports] : []))
    .sort((left, right) => left.first - right.first);
  const free: PortRange[] = [];
  let next = FIRST_FREE;
  for (const { first, count: size } of [...taken, { first: LAST + 1, count: 0 }]) {
    if (first - next >= count) free.push({ first: next, count: first - next });
    next = Math.max(next, first + size);
  }
  return free;
}

/** One character for each 1024 ports (F front, p published, S static, * several), then each reservation by name. */
export function portStrip(node: string, reservations: readonly PortReservation[]): string {
  const cells = Array.from({ length: CELLS }, () => ".");
  const lines: string[] = [];
  const ordered = [...reservations].sort((left, right) => (left.ports?.first ?? 0) - (right.ports?.first ?? 0));
  for (const { ports, purpose, owner } of ordered) {
    if (!ports) continue;
    const mark = MARKS[PORT_PURPOSE.name(purpose)] ?? "?";
    const lastCell = Math.floor((ports.first + ports.count - 1) / PORTS_PER_CELL);
    for (let cell = Math.floor(ports.first / PORTS_PER_CELL); cell <= lastCell; cell += 1) {
      cells[cell] = cells[cell] === "." || cells[cell] === mark ? mark : "*";
    }
    lines.push(`  ${formatPorts(ports).padEnd(11)}  ${PORT_PURPOSE.name(purpose).padEnd(9)}  ${owner}`);
  }
  return [`${node}  |${cells.join("")}|  0 to 65535, 1024 ports for each mark`, ...lines].join("\n");
}
