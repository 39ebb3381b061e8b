/**
 * Requests become values that are known to be well-formed, or an error that names the field. Pure.
 *
 * Whether a well-formed request can be done (conflicts, missing resources) is for `services/cluster.ts`.
 */
import { ClusterError, type FieldViolation, invalidField } from "../errors.js";
import {
  MAX_LABEL_KEY_CHARS,
  MAX_LABEL_VALUE_BYTES,
  MAX_LABELS,
  MAX_NAME_CHARS,
  MAX_PORT,
  MAX_PREFIX_BITS,
  MAX_PUBLISHED_PORTS,
  MAX_VNI,
  MIN_PREFIX_BITS,
} from "../limits.js";
import { formatPorts } from "./allocation.js";
import { formatIpv4, formatPrefix, type Prefix, parseIpv4, parsePrefix, specialUse } from "./ipv4.js";
import type { PortRange, PublishedPort } from "./resources.js";

export interface NewNetwork {
  readonly name: string;
  /** 0: to be chosen. */
  readonly vni: number;
  readonly prefix: Prefix;
}

export interface NewNode {
  readonly name: string;
  readonly underlayAddress: string;
  readonly frontPorts: PortRange;
}

export interface NewEndpoint {
  readonly name: string;
  readonly network: string;
  readonly node: string;
  /** Undefined: to be chosen. */
  readonly address: number | undefined;
  readonly publishedPorts: readonly PublishedPort[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Collects the violations of one request, so that its caller learns of all of them at once. */
class Violations {
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
}

function nameProblem(name: string): string | undefined {
  if (name === "") return "must not be empty";
  if (name.length > MAX_NAME_CHARS) return `has ${name.length} characters, at most ${MAX_NAME_CHARS} are allowed`;
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) {
    return `${JSON.stringify(name)} must be a DNS label: lower-case letters, digits and inner hyphens`;
  }
  return undefined;
}

function checkName(violations: Violations, field: string, name: string): void {
  const problem = nameProblem(name);
  if (problem) violations.add(field, problem);
}

/** Checks a single name, as in a Get request. */
export function validName(field: string, name: string): string {
  const problem = nameProblem(name);
  if (problem) throw invalidField(field, problem);
  return name;
}

function readPrefix(violations: Violations, field: string, text: string): Prefix | undefined {
  const prefix = parsePrefix(text);
  if (prefix === "malformed") {
    violations.add(field, `${JSON.stringify(text)} must be an IPv4 prefix in CIDR notation, for example 10.32.0.0/16`);
    return undefined;
  }
  if (prefix === "host_bits_set") {
    const [address = "", bits = ""] = text.split("/");
    const size = 2 ** (32 - Number(bits));
    const base = Math.floor((parseIpv4(address) ?? 0) / size) * size;
    violations.add(field, `${text} has host bits set; did you mean ${formatIpv4(base)}/${bits}?`);
    return undefined;
  }
  if (prefix.bits < MIN_PREFIX_BITS || prefix.bits > MAX_PREFIX_BITS) {
    violations.add(field, `${text} must be between /${MIN_PREFIX_BITS} and /${MAX_PREFIX_BITS}`);
    return undefined;
  }
  const use = specialUse(prefix);
  if (use) {
    violations.add(field, `${formatPrefix(prefix)} overlaps addresses that containers cannot have: ${use}`);
    return undefined;
  }
  return prefix;
}

export function validNetwork(wanted: { name: string; vni: number; prefix: string } | undefined): NewNetwork {
  if (!wanted) throw invalidField("network", "must be set");
  const violations = new Violations();
  checkName(violations, "network.name", wanted.name);
  if (wanted.vni > MAX_VNI) {
    violations.add("network.vni", `${wanted.vni} must be between 1 and ${MAX_VNI}, or 0 to have one chosen`);
  }
  const prefix = readPrefix(violations, "network.prefix", wanted.prefix);
  if (!prefix || violations.any) throw violations.error();
  return { name: wanted.name, vni: wanted.vni, prefix };
}

function checkPort(violations: Violations, field: string, port: number): void {
  if (port < 1 || port > MAX_PORT) violations.add(field, `${port} must be between 1 and ${MAX_PORT}`);
}

export function validNode(
  wanted: { name: string; underlayAddress: string; frontPorts: PortRange | undefined } | undefined,
): NewNode {
  if (!wanted) throw invalidField("node", "must be set");
  const violations = new Violations();
  checkName(violations, "node.name", wanted.name);
  const address = parseIpv4(wanted.underlayAddress);
  if (address === undefined) {
    violations.add("node.underlay_address", `${JSON.stringify(wanted.underlayAddress)} must be an IPv4 dotted quad`);
  } else {
    // Loopback is a sensible underlay for a single node, for example in a test.
    const use = address >>> 24 === 127 ? undefined : specialUse({ first: address, last: address });
    if (use) violations.add("node.underlay_address", `${wanted.underlayAddress} cannot be a host's address: ${use}`);
  }
  const ports = wanted.frontPorts;
  if (!ports) {
    violations.add("node.front_ports", "must be set");
  } else {
    checkPort(violations, "node.front_ports.first", ports.first);
    if (ports.count < 1) {
      violations.add("node.front_ports.count", "must be at least 1");
    } else if (ports.first + ports.count - 1 > MAX_PORT) {
      violations.add("node.front_ports.count", `${ports.count} makes the block end after port ${MAX_PORT}`);
    }
  }
  if (!ports || violations.any) throw violations.error();
  return {
    name: wanted.name,
    underlayAddress: wanted.underlayAddress,
    frontPorts: { first: ports.first, count: ports.count },
  };
}

function checkPublishedPorts(violations: Violations, ports: readonly PublishedPort[]): void {
  const field = "endpoint.published_ports";
  if (ports.length > MAX_PUBLISHED_PORTS) {
    violations.add(field, `has ${ports.length} entries, at most ${MAX_PUBLISHED_PORTS} are allowed`);
    return;
  }
  const seen = new Set<number>();
  for (const [index, { hostPort, endpointPort }] of ports.entries()) {
    checkPort(violations, `${field}[${index}].host_port`, hostPort);
    checkPort(violations, `${field}[${index}].endpoint_port`, endpointPort);
    if (seen.has(hostPort)) {
      violations.add(`${field}[${index}].host_port`, `${formatPorts({ first: hostPort, count: 1 })} is given twice`);
    }
    seen.add(hostPort);
  }
}

function checkLabels(violations: Violations, labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    violations.add("endpoint.labels", `has ${entries.length} entries, at most ${MAX_LABELS} are allowed`);
    return;
  }
  for (const [key, value] of entries) {
    if (key.length > MAX_LABEL_KEY_CHARS || !/^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$/.test(key)) {
      violations.add(
        "endpoint.labels",
        `key ${JSON.stringify(key.slice(0, MAX_LABEL_KEY_CHARS))} must be 1 to ${MAX_LABEL_KEY_CHARS} letters, digits ` +
          "and inner -, _, . or /",
      );
    }
    if (Buffer.byteLength(value) > MAX_LABEL_VALUE_BYTES) {
      violations.add(`endpoint.labels[${key}]`, `must have at most ${MAX_LABEL_VALUE_BYTES} bytes`);
    }
  }
}

export function validEndpoint(
  wanted:
    | {
        name: string;
        network: string;
        node: string;
        address: string;
        publishedPorts: readonly PublishedPort[];
        labels: Readonly<Record<string, string>>;
      }
    | undefined,
): NewEndpoint {
  if (!wanted) throw invalidField("endpoint", "must be set");
  const violations = new Violations();
  checkName(violations, "endpoint.name", wanted.name);
  checkName(violations, "endpoint.network", wanted.network);
  checkName(violations, "endpoint.node", wanted.node);
  const address = wanted.address === "" ? undefined : parseIpv4(wanted.address);
  if (wanted.address !== "" && address === undefined) {
    violations.add("endpoint.address", `${JSON.stringify(wanted.address)} must be an IPv4 dotted quad, or empty`);
  }
  checkPublishedPorts(violations, wanted.publishedPorts);
  checkLabels(violations, wanted.labels);
  if (violations.any) throw violations.error();
  return {
    name: wanted.name,
    network: wanted.network,
    node: wanted.node,
    address,
    publishedPorts: wanted.publishedPorts.map(({ hostPort, endpointPort }) => ({ hostPort, endpointPort })),
    labels: { ...wanted.labels },
  };
}
