/** The wire between nodes and controller, cut and joined: packets vanish, as they do where a router in between has failed. */
import { execFileSync } from "node:child_process";
import type { Cluster } from "../fixture/cluster.js";

const BRIDGE = "wire";

interface Link {
  readonly address: string;
}

interface Neighbour {
  readonly dst: string;
  readonly lladdr?: string;
}

function ip(netns: string, ...args: string[]): string {
  return execFileSync("ip", ["-n", netns, ...args], { encoding: "utf8" });
}

export class Wire {
  readonly #netns: string;

  /**
   * The nodes must have talked to whom they will talk to: the addresses on the wire stay known, so that nothing tells them
   * sooner than silence does.
   */
  constructor(cluster: Cluster, nodes: readonly string[]) {
    this.#netns = cluster.netnsOf("node-1").replace(/node-1$/, "wire");
    // By itself it has the least of its ports' addresses, and another one when that port leaves.
    const [bridge] = JSON.parse(ip(this.#netns, "-j", "link", "show", BRIDGE)) as Link[];
    if (bridge) ip(this.#netns, "link", "set", BRIDGE, "address", bridge.address);
    for (const netns of [this.#netns, ...nodes.map((node) => cluster.netnsOf(node))]) {
      const device = netns === this.#netns ? BRIDGE : "eth0";
      const neighbours = JSON.parse(ip(netns, "-j", "-4", "neighbour", "show", "dev", device)) as Neighbour[];
      for (const { dst, lladdr } of neighbours) {
        if (lladdr) ip(netns, "neighbour", "replace", dst, "lladdr", lladdr, "dev", device, "nud", "permanent");
      }
    }
  }

  /** From everybody else, controller included. */
  cut(node: string): void {
    ip(this.#netns, "link", "set", portOf(node), "nomaster");
  }

  join(node: string): void {
    ip(this.#netns, "link", "set", portOf(node), "master", BRIDGE);
  }
}

/** As `slimfast up` numbers them. */
function portOf(node: string): string {
  return node.replace(/^node-/, "port");
}
