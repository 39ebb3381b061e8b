/** Host ports of a node within a transaction: who has them, and which are free. */
import { findPortConflict, formatPorts, lowestFreeBlock, nearestFreeBlock } from "../domain/allocation.js";
import type { PortRange } from "../domain/resources.js";
import { ClusterError } from "../errors.js";
import { MAX_PORT, PREFERRED_PORTS, UNPRIVILEGED_PORTS } from "../limits.js";
import type { StoreReader } from "../store/store.js";

const USES = { front: "as front ports", published: "as a published port", static: "as a static reservation" } as const;

export interface PortRequest {
  readonly node: string;
  readonly ports: PortRange;
  /** Who wants them: what it has already is not in its way. */
  readonly owner: string;
  /** Where they stand in the request. */
  readonly field: string;
}

/** @throws ClusterError `already_exists` that says who has one of the ports, and where the nearest free block is. */
export function requireFree(reader: StoreReader, { node, ports, owner, field }: PortRequest): void {
  const conflict = findPortConflict(ports, owner, reader.reservationsWithin(node, ports));
  if (!conflict) return;
  const others = reader.listReservations({ node, limit: -1 }).filter((reservation) => reservation.owner !== owner);
  const range = ports.first < UNPRIVILEGED_PORTS.first ? { first: 1, last: MAX_PORT } : UNPRIVILEGED_PORTS;
  const free = nearestFreeBlock(
    range,
    ports,
    others.map((reservation) => reservation.ports),
  );
  const held = formatPorts(conflict.ports);
  throw new ClusterError(
    "already_exists",
    `port ${formatPorts(ports)} of node ${node} is taken: ${conflict.owner} has ${held} ${USES[conflict.purpose]}`,
    {
      resource: { type: "port", name: `${node}:${held}`, owner: conflict.owner },
      fields: [{ field, description: `is taken by ${conflict.owner}` }],
      reason: { reason: "PORTS_TAKEN", metadata: free === undefined ? {} : { free_first: String(free) } },
    },
  );
}

/** A free block of the node's ports. */
export function chooseBlock(reader: StoreReader, node: string, count: number): PortRange {
  const taken = reader.listReservations({ node, limit: -1 }).map(({ ports }) => ports);
  const first = lowestFreeBlock(PREFERRED_PORTS, count, taken) ?? lowestFreeBlock(UNPRIVILEGED_PORTS, count, taken);
  if (first === undefined) {
    throw new ClusterError("resource_exhausted", `node ${node} has no ${count} free ports in a row`, {
      resource: { type: "node", name: node },
    });
  }
  return { first, count };
}
