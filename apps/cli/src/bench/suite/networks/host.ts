/** The nodes' own namespaces and addresses, nothing between. */

import { exec } from "../../../process/exec.js";
import type { TwoNodes } from "../../configurations.js";
import { spawnServer } from "./child-server.js";
import { CLIENT_TIMEOUT_MS, type Network } from "./network.js";

export function openHostNetwork(nodes: TwoNodes): Network {
  return {
    name: "host",
    ownPids: [],
    start: async (side, _name, command) => spawnServer(nodes[side], nodes[side].underlayAddress, command),
    run: (side, [program = "", ...args]) =>
      exec(program, args, { netns: nodes[side].netns, timeoutMs: CLIENT_TIMEOUT_MS }),
    close: async () => undefined,
  };
}
