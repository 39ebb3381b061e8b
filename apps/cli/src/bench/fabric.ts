/**
 * A VXLAN overlay as container overlays make it: on each node a bridge with the kernel's VXLAN device, and containers on
 * it by veth. The baselines `vxlan` run on it, and Slim sends its first connections over it.
 */
import type { NodePlan } from "../cluster/plan.js";
import { deleteNetns } from "../cluster/wire.js";
import { exec, tryExec } from "../process/exec.js";
import type { TwoNodes } from "./configurations.js";

/** In namespaces of their own, so they meet nothing else. */
export const FABRIC_PREFIX = "10.98.0.0/16";
const ADDRESS_START = "10.98.0.";
/** Ethernet's less the 50 bytes of encapsulation. */
const MTU = "1450";

export interface FabricContainer {
  readonly netns: string;
  readonly address: string;
}

export interface Fabric {
  /** The container of that name on the node; made when it is first asked for. */
  container(side: keyof TwoNodes, name: string): Promise<FabricContainer>;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * @param tag short; keeps the devices of several fabrics apart
 * @param vni also chooses the UDP port
 * @param prepare is called with each container's namespace when it has been made
 */
export async function openFabric(
  nodes: TwoNodes,
  tag: string,
  vni: number,
  prepare: (netns: string) => Promise<void> = async () => undefined,
): Promise<Fabric> {
  const bridge = `bb-${tag}`;
  const device = `bx-${tag}`;
  const containers = new Map<string, FabricContainer>();
  const close = async () => {
    for (const { netns } of containers.values()) await deleteNetns(netns);
    containers.clear();
    for (const node of [nodes.client, nodes.server]) {
      for (const link of [device, bridge]) await tryExec("ip", ["-n", node.netns, "link", "delete", link]);
    }
  };
  try {
    await createBridge(nodes.client, nodes.server, { bridge, device, vni });
    await createBridge(nodes.server, nodes.client, { bridge, device, vni });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    container: async (side, name) => {
      const key = `${side}-${name}`;
      const known = containers.get(key);
      if (known) return known;
      const node = nodes[side];
      const number = containers.size + 1;
      // Named like an endpoint of the node, so that `down` removes it if this process is killed.
      const made = { netns: `${node.netns}-bench-${tag}-${name}`, address: `${ADDRESS_START}${number}` };
      containers.set(key, made);
      await createContainer(node, made, bridge, `bv-${tag}${number}`);
      await prepare(made.netns);
      return made;
    },
    close,
  };
}

interface Devices {
  readonly bridge: string;
  readonly device: string;
  readonly vni: number;
}

async function createBridge(node: NodePlan, peer: NodePlan, { bridge, device, vni }: Devices): Promise<void> {
  const inNode = (...args: string[]) => exec("ip", ["-n", node.netns, ...args]);
  await inNode("link", "add", bridge, "type", "bridge");
  await inNode("link", "set", bridge, "up");
  await inNode(
    ...["link", "add", device, "type", "vxlan", "id", String(vni), "dstport", String(10_000 + vni)],
    ...["local", node.underlayAddress, "remote", peer.underlayAddress, "dev", "eth0"],
  );
  await inNode("link", "set", device, "master", bridge, "up");
}

async function createContainer(node: NodePlan, container: FabricContainer, bridge: string, veth: string) {
  const inContainer = (...args: string[]) => exec("ip", ["-n", container.netns, ...args]);
  await exec("ip", ["netns", "add", container.netns]);
  await exec("ip", [
    ...["link", "add", "eth0", "netns", container.netns, "type", "veth"],
    ...["peer", "name", veth, "netns", node.netns],
  ]);
  await exec("ip", ["-n", node.netns, "link", "set", veth, "master", bridge, "up"]);
  await inContainer("addr", "add", `${container.address}/16`, "dev", "eth0");
  await inContainer("link", "set", "eth0", "mtu", MTU, "up");
  await inContainer("link", "set", "lo", "up");
}
