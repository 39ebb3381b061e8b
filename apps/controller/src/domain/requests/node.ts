/** What may be asked of a node. Pure. */
import { ADDRESS_BITS, parseIp, prefixOf } from "@slimfast/proto";
import { ClusterError, invalidField } from "../../errors.js";
import { MAX_AGENT_VERSION_CHARS } from "../../limits.js";
import { specialUse } from "../address-space.js";
import type { Labels, NodeState, PortRange } from "../resources.js";
import { checkLabels, checkName, checkPortRange, shown, Violations } from "../validation.js";

export interface NewNode {
  readonly name: string;
  readonly underlayAddress: string;
  readonly frontPorts: PortRange;
  readonly labels: Labels;
  readonly agentVersion: string;
}

/** What is read of the message; what is left out is as if it were empty there. */
export interface WantedNode extends Pick<NewNode, "name" | "underlayAddress"> {
  readonly frontPorts: PortRange | undefined;
  readonly labels?: Labels;
  readonly agentVersion?: string;
}

export interface NodeChange {
  /** Undefined: not a state that there is. */
  readonly state: NodeState | undefined;
  readonly labels: Labels;
}

export function validNode(wanted: WantedNode | undefined): NewNode {
  if (!wanted) throw invalidField("node", "must be set");
  const { name, underlayAddress, frontPorts, labels = {}, agentVersion = "" } = wanted;
  const violations = new Violations();
  checkName(violations, "node.name", name);
  const address = parseIp(underlayAddress);
  if (address?.family !== 4) {
    violations.add("node.underlay_address", `${shown(underlayAddress)} must be an IPv4 dotted quad`);
  } else {
    // Loopback is a sensible underlay for a single node, for example in a test.
    const use = underlayAddress.startsWith("127.") ? undefined : specialUse(prefixOf(address, ADDRESS_BITS[4]));
    if (use) violations.add("node.underlay_address", `${underlayAddress} cannot be a host's address: ${use}`);
  }
  if (frontPorts) checkPortRange(violations, "node.front_ports", frontPorts);
  else violations.add("node.front_ports", "must be set");
  checkLabels(violations, "node.labels", labels);
  if (agentVersion.length > MAX_AGENT_VERSION_CHARS) {
    violations.add("node.agent_version", `must have at most ${MAX_AGENT_VERSION_CHARS} characters`);
  }
  if (!frontPorts || violations.any) throw violations.error();
  const { first, count } = frontPorts;
  return { name, underlayAddress, frontPorts: { first, count }, labels: { ...labels }, agentVersion };
}

/** Checks what a node is to be changed to. */
export function validNodeChange({ state, labels }: NodeChange): { state: NodeState; labels: Labels } {
  const violations = new Violations();
  checkLabels(violations, "node.labels", labels);
  if (state === undefined) violations.add("node.state", "must be NODE_STATE_ACTIVE or NODE_STATE_DRAINING");
  if (state === undefined || violations.any) throw violations.error();
  return { state, labels };
}

/**
 * Checks that agent and controller understand each other: the controller's own version, and the one before.
 *
 * @param version As the agent said; 0 means 1, because the first one did not say it.
 */
export function checkProtocolVersion(version: number, own: number): void {
  const spoken = version === 0 ? 1 : version;
  if (spoken === own || spoken === own - 1) return;
  const [side, advice] =
    spoken > own
      ? ["the controller", "upgrade the controller first, then the agents"]
      : ["the agent", "upgrade the agent of this node"];
  throw new ClusterError(
    "failed_precondition",
    `the agent speaks version ${spoken} of the agent protocol, this controller speaks ${own} and ${own - 1}: ` +
      `${side} is too old; ${advice}`,
    {
      precondition: { type: "PROTOCOL_VERSION", subject: spoken > own ? "controller" : "agent" },
      fields: [{ field: "protocol_version", description: `must be ${own - 1} or ${own}` }],
    },
  );
}
