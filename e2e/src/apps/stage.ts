/** Where a server and its client are, and by which tier they have their sockets; and which of these are gone through. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster } from "../fixture/cluster.js";
import { Box, type Tier } from "./box.js";

export interface Placement {
  readonly where: "plain namespace" | "same container" | "same node" | "two nodes";
  /** Of an endpoint. */
  readonly tier: Tier | null;
  readonly network: "default" | typeof IPV6_NETWORK;
}

/** A network that has no IPv4 addresses. */
export const IPV6_NETWORK = "six";

export const IS_FULL: boolean = process.env.SLIMFAST_TEST_FULL === "1";

const WHERE = ["same container", "same node", "two nodes"] as const;
const TIERS = ["notify", "auto"] as const;

/**
 * The placements of the `index`-th application. All are everywhere with `--full`, and in a plain namespace as well:
 * whatever fails there is the test's fault. Otherwise each is in two places and in two tiers, which go round, and in one
 * of each by IPv6.
 */
export function placementsOf(index: number): readonly Placement[] {
  if (IS_FULL) {
    const networks = ["default", IPV6_NETWORK] as const;
    const ours = networks.flatMap((network) =>
      WHERE.flatMap((where) => TIERS.map((tier) => ({ where, tier, network }))),
    );
    return [{ where: "plain namespace", tier: null, network: "default" }, ...ours];
  }
  const [one, other] = index % 2 === 0 ? TIERS : ([TIERS[1], TIERS[0]] as const);
  return [
    { where: "two nodes", tier: one, network: "default" },
    { where: index % 4 < 2 ? "same node" : "same container", tier: other, network: "default" },
    { where: index % 4 < 2 ? "two nodes" : "same node", tier: other, network: IPV6_NETWORK },
  ];
}

/** What one run of an application has to itself. */
export interface Stage {
  readonly placement: Placement;
  readonly server: Box;
  /** May be the server's. */
  readonly client: Box;
  /** Of its own, empty, and open to every user. */
  readonly directory: string;
}

/** A server and its clients, and what is to be seen of them. */
export interface App {
  readonly name: string;
  play(stage: Stage): Promise<void>;
}

let stages = 0;

/** Sets the stage, plays, and clears it away however that ended. */
export async function perform(cluster: Cluster, placement: Placement, app: App): Promise<void> {
  stages += 1;
  const name = `stage-${stages}`;
  const directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-apps-"));
  const boxes: Box[] = [];
  const box = async (making: Promise<Box> | Box) => {
    boxes.push(await making);
    return making;
  };
  try {
    const server = await box(makeBox(cluster, placement, "node-1", name));
    const isAlone = placement.where === "plain namespace" || placement.where === "same container";
    const clientNode = placement.where === "two nodes" ? "node-2" : "node-1";
    const client = isAlone ? server : await box(makeBox(cluster, placement, clientNode, `${name}-client`));
    await app.play({ placement, server, client, directory });
  } finally {
    for (const one of boxes.reverse()) await one.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

function makeBox(cluster: Cluster, { tier, network }: Placement, node: string, name: string): Promise<Box> | Box {
  return tier === null ? Box.plain(`${cluster.tag}${name}`) : Box.endpoint(cluster, node, name, tier, network);
}
