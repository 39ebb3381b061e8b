/** What a transaction does with a static reservation of ports. */
import { isDeepStrictEqual } from "node:util";
import { messageType } from "../domain/descriptors.js";
import { checkEtag } from "../domain/etag.js";
import { type NewReservation, validReservationChange, type WantedReservation } from "../domain/requests/reservation.js";
import { type PortReservation, reservationOwner } from "../domain/resources.js";
import { readUpdateMask } from "../domain/update-mask.js";
import type { DurationMessage } from "../domain/validation.js";
import { ClusterError, notFound } from "../errors.js";
import type { StoreReader, StoreTransaction } from "../store/store.js";
import { requireNode } from "./nodes.js";
import { chooseBlock, requireFree } from "./ports.js";

/** `lease` stands for the request's field of that name, so that a lease can be extended alone. */
const MUTABLE = ["ports", "description", "lease"];

export function reservationMask(paths: readonly string[] | undefined) {
  return readUpdateMask(paths, messageType("PortReservation"), MUTABLE);
}

export function requireReservation(reader: StoreReader, name: string): PortReservation {
  const reservation = reader.getReservation(name);
  if (!reservation) throw notFound("reservation", name);
  return reservation;
}

/** Does its part of a transaction; the store ends the reservation when its lease does. */
export function createReservation(tx: StoreTransaction, wanted: NewReservation): PortReservation {
  const { name, node, description, leaseMs = 0 } = wanted;
  requireNode(tx, node);
  const owner = reservationOwner(name);
  if (tx.getReservation(name)) {
    throw new ClusterError("already_exists", `reservation ${name} exists already`, {
      resource: { type: "reservation", name, owner },
    });
  }
  const ports = wanted.ports.first === 0 ? chooseBlock(tx, node, wanted.ports.count) : wanted.ports;
  requireFree(tx, { node, ports, owner, field: "port_reservation.ports" });
  const createTimeMs = Date.now();
  const content = { name, node, ports, purpose: "static", owner, description, createTimeMs } as const;
  const expiry = leaseMs === 0 ? {} : { expireTimeMs: createTimeMs + leaseMs };
  return tx.put("reservation", { ...content, ...expiry }, { leaseMs });
}

export function updateReservation(
  tx: StoreTransaction,
  wanted: Pick<WantedReservation, "name" | "ports" | "description"> & { readonly etag: string },
  mask: ReturnType<typeof reservationMask>,
  lease: DurationMessage | undefined,
): PortReservation {
  const { expireTimeMs, ...present } = requireReservation(tx, wanted.name);
  checkEtag(wanted.etag, present.revision, { type: "reservation", name: wanted.name });
  const ports = mask.choose("ports", wanted.ports, present.ports);
  const description = mask.choose("description", wanted.description, present.description);
  const { leaseMs, ...change } = validReservationChange({ ports, description }, lease);
  const { node, owner } = present;
  requireFree(tx, { node, ports: change.ports, owner, field: "port_reservation.ports" });
  const next = { ...present, ...change };
  if (leaseMs === undefined) {
    const kept = expireTimeMs === undefined ? next : { ...next, expireTimeMs };
    return isDeepStrictEqual(next, present) ? kept : tx.put("reservation", kept);
  }
  const expiry = leaseMs === 0 ? {} : { expireTimeMs: Date.now() + leaseMs };
  return tx.put("reservation", { ...next, ...expiry }, { leaseMs });
}

export function deleteReservation(tx: StoreTransaction, name: string, etag: string): void {
  const { revision } = requireReservation(tx, name);
  checkEtag(etag, revision, { type: "reservation", name });
  tx.delete("reservation", name);
}
