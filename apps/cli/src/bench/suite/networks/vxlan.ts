/** Containers on bridge, veth and the kernel's VXLAN: what Docker's overlay and Flannel do. */
import { exec } from "../../../process/exec.js";
import type { TwoNodes } from "../../configurations.js";
import { openFabric } from "../../fabric.js";
import { spawnServer } from "./child-server.js";
import { CLIENT_TIMEOUT_MS, type Network } from "./network.js";
import { reuseWaitingPorts } from "./waiting-ports.js";

const VNI = 4243;

export async function openVxlanNetwork(nodes: TwoNodes): Promise<Network> {
  const fabric = await openFabric(nodes, "v", VNI, reuseWaitingPorts);
  return {
    name: "vxlan",
    ownPids: [],
    start: async (side, name, command) => {
      const { netns, address } = await fabric.container(side, name);
      return spawnServer({ netns }, address, command);
    },
    run: async (side, [program = "", ...args]) => {
      const { netns } = await fabric.container(side, "run");
      return exec(program, args, { netns, timeoutMs: CLIENT_TIMEOUT_MS });
    },
    close: () => fabric.close(),
  };
}
