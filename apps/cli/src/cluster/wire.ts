/**
 * The nodes' network namespaces and the wire that joins them: a bridge in a namespace of its own. The machine's own
 * namespace gets no device, address, route or sysctl.
 */
import { existsSync } from "node:fs";
import { exec } from "../process/exec.js";
import { type ClusterPlan, type NodePlan, UNDERLAY_PREFIX_LENGTH, WIRE_ADDRESS } from "./plan.js";

const BRIDGE = "wire";

export async function createWire(plan: ClusterPlan): Promise<void> {
  await exec("ip", ["netns", "add", plan.wireNetns]);
  await exec("ip", ["-n", plan.wireNetns, "link", "set", "lo", "up"]);
  await exec("ip", ["-n", plan.wireNetns, "link", "add", BRIDGE, "type", "bridge"]);
  await exec("ip", ["-n", plan.wireNetns, "link", "set", BRIDGE, "up"]);
  if (plan.tlsAddress === undefined) return;
  // For the controller, which is in this namespace then.
  const address = `${WIRE_ADDRESS}/${UNDERLAY_PREFIX_LENGTH}`;
  await exec("ip", ["-n", plan.wireNetns, "addr", "add", address, "dev", BRIDGE]);
}

/** A namespace whose `eth0` hangs on the wire. */
export async function createNodeNetns(plan: ClusterPlan, node: NodePlan, index: number): Promise<void> {
  const port = `port${index + 1}`;
  await exec("ip", ["netns", "add", node.netns]);
  await exec("ip", ["-n", node.netns, "link", "set", "lo", "up"]);
  await exec("ip", [
    ...["link", "add", "eth0", "netns", node.netns],
    ...["type", "veth", "peer", "name", port, "netns", plan.wireNetns],
  ]);
  await exec("ip", ["-n", plan.wireNetns, "link", "set", port, "master", BRIDGE, "up"]);
  await exec("ip", [
    ...["-n", node.netns, "addr", "add", `${node.underlayAddress}/${UNDERLAY_PREFIX_LENGTH}`],
    ...["dev", "eth0"],
  ]);
  await exec("ip", ["-n", node.netns, "link", "set", "eth0", "up"]);
}

/** Idempotent. Devices in the namespace go with it. */
export async function deleteNetns(name: string): Promise<void> {
  if (existsSync(netnsPath(name))) await exec("ip", ["netns", "delete", name]);
}

export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}
