/** What may be asked of a static reservation. Pure. */
import { invalidField } from "../../errors.js";
import { MAX_PORT } from "../../limits.js";
import type { PortRange } from "../resources.js";
import {
  checkDescription,
  checkName,
  checkPortRange,
  type DurationMessage,
  readLease,
  Violations,
} from "../validation.js";

export interface NewReservation {
  readonly name: string;
  readonly node: string;
  /** first 0: to be chosen. */
  readonly ports: PortRange;
  readonly description: string;
  /** Undefined: for ever. */
  readonly leaseMs: number | undefined;
}

/** What is read of the message. */
export interface WantedReservation {
  readonly name: string;
  readonly node: string;
  readonly ports: PortRange | undefined;
  readonly description: string;
}

export interface ReservationChange {
  readonly ports: PortRange | undefined;
  readonly description: string;
  /** 0: for ever. Undefined: as it was. */
  readonly leaseMs: number | undefined;
}

const FIELD = "port_reservation";

function readPorts(
  violations: Violations,
  ports: PortRange | undefined,
  isChoiceAllowed: boolean,
): PortRange | undefined {
  if (!ports) {
    violations.add(`${FIELD}.ports`, "must be set");
    return undefined;
  }
  const { first, count } = ports;
  if (first === 0 && isChoiceAllowed) {
    if (count < 1 || count > MAX_PORT) {
      violations.add(`${FIELD}.ports.count`, `${count} must be between 1 and ${MAX_PORT}`);
    }
  } else {
    checkPortRange(violations, `${FIELD}.ports`, ports);
  }
  return { first, count };
}

export function validReservation(
  wanted: WantedReservation | undefined,
  lease: DurationMessage | undefined,
): NewReservation {
  if (!wanted) throw invalidField(FIELD, "must be set");
  const { name, node, description } = wanted;
  const violations = new Violations();
  checkName(violations, `${FIELD}.name`, name);
  checkName(violations, `${FIELD}.node`, node);
  const ports = readPorts(violations, wanted.ports, true);
  checkDescription(violations, `${FIELD}.description`, description);
  const leaseMs = readLease(violations, lease, { isNeverAllowed: false });
  if (!ports || violations.any) throw violations.error();
  return { name, node, ports, description, leaseMs };
}

/** Checks what a reservation is to be changed to. */
export function validReservationChange(
  wanted: Pick<WantedReservation, "ports" | "description">,
  lease: DurationMessage | undefined,
): ReservationChange & { readonly ports: PortRange } {
  const violations = new Violations();
  const ports = readPorts(violations, wanted.ports, false);
  checkDescription(violations, `${FIELD}.description`, wanted.description);
  const leaseMs = readLease(violations, lease, { isNeverAllowed: true });
  if (!ports || violations.any) throw violations.error();
  return { ports, description: wanted.description, leaseMs };
}
