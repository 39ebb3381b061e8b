/** What may be asked of an endpoint. Pure. */
import type { IpAddress } from "@slimfast/proto";
import { invalidField } from "../../errors.js";
import { MAX_PUBLISHED_PORTS } from "../../limits.js";
import type { Labels, PublishedPort } from "../resources.js";
import { checkLabels, checkName, checkPort, readAddress, Violations } from "../validation.js";

export interface NewEndpoint {
  readonly name: string;
  readonly network: string;
  readonly node: string;
  /** Undefined: to be chosen, if the network has such a prefix. */
  readonly address: IpAddress | undefined;
  readonly address6: IpAddress | undefined;
  readonly publishedPorts: readonly PublishedPort[];
  readonly labels: Labels;
  /** Not accelerated; false if left out. */
  readonly plain?: boolean;
}

/** What is read of the message. */
export interface WantedEndpoint extends Omit<NewEndpoint, "address" | "address6"> {
  readonly address: string;
  readonly address6?: string;
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
    if (seen.has(hostPort)) violations.add(`${field}[${index}].host_port`, `${hostPort} is given twice`);
    seen.add(hostPort);
  }
}

export function validEndpoint(wanted: WantedEndpoint | undefined): NewEndpoint {
  if (!wanted) throw invalidField("endpoint", "must be set");
  const { name, network, node, publishedPorts, labels, plain = false } = wanted;
  const violations = new Violations();
  checkName(violations, "endpoint.name", name);
  checkName(violations, "endpoint.network", network);
  checkName(violations, "endpoint.node", node);
  const address = readAddress(violations, "endpoint.address", wanted.address, 4);
  const address6 = readAddress(violations, "endpoint.address6", wanted.address6 ?? "", 6);
  checkPublishedPorts(violations, publishedPorts);
  if (plain && publishedPorts.length > 0) {
    violations.add(
      "endpoint.published_ports",
      "must be empty for a plain endpoint: ports lead to accelerated listeners",
    );
  }
  checkLabels(violations, "endpoint.labels", labels);
  violations.throwIfAny();
  return {
    name,
    network,
    node,
    address,
    address6,
    publishedPorts: publishedPorts.map(({ hostPort, endpointPort }) => ({ hostPort, endpointPort })),
    labels: { ...labels },
    plain,
  };
}

/** Checks what an endpoint is to be changed to. */
export function validEndpointChange(change: { readonly labels: Labels }): { labels: Labels } {
  const violations = new Violations();
  checkLabels(violations, "endpoint.labels", change.labels);
  violations.throwIfAny();
  return change;
}
