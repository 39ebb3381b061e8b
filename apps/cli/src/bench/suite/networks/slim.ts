/**
 * Slim (NSDI 2019), written from its paper: tools/bench/slim/README.md says what it does and where it is better than the
 * authors' code. Built when it is first needed; it is no part of the product.
 */
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError } from "../../../exit-codes.js";
import { ROOT } from "../../../paths.js";
import { exec } from "../../../process/exec.js";
import type { TwoNodes } from "../../configurations.js";
import { FABRIC_PREFIX, openFabric } from "../../fabric.js";
import { spawnServer } from "./child-server.js";
import { CLIENT_TIMEOUT_MS, type Network, type Server, type Side } from "./network.js";
import { reuseWaitingPorts } from "./waiting-ports.js";

const VNI = 4244;
const SOURCES = join(ROOT, "tools/bench/slim");
const ROUTER_READY_MS = 10_000;

export async function openSlimNetwork(nodes: TwoNodes): Promise<Network> {
  const directory = mkdtempSync(join(tmpdir(), "slimfast-bench-slim-"));
  // Servers may run as users of their own.
  chmodSync(directory, 0o755);
  const routers: Partial<Record<Side, Server>> = {};
  const fabric = await openFabric(nodes, "s", VNI, reuseWaitingPorts);
  const socketOf = (side: Side) => join(directory, `${side}.sock`);
  const close = async () => {
    for (const router of Object.values(routers)) await router.stop();
    await fabric.close();
    rmSync(directory, { recursive: true, force: true });
  };
  const env = (side: Side) => ({
    LD_PRELOAD: join(directory, "slim-shim.so"),
    SLIM_ROUTER: socketOf(side),
    SLIM_PREFIX: FABRIC_PREFIX,
  });
  try {
    await exec(join(SOURCES, "build.sh"), [directory]);
    for (const side of ["client", "server"] as const) {
      const node = nodes[side];
      const command = [join(directory, "slim-router"), socketOf(side), node.underlayAddress];
      const router = spawnServer({ netns: node.netns }, node.underlayAddress, command);
      routers[side] = router;
      await untilSocketExists(socketOf(side), router);
      chmodSync(socketOf(side), 0o666);
    }
  } catch (error) {
    await close();
    throw error;
  }
  // The library must not get into nsenter, which is in no container yet.
  const inContainer = (side: Side, command: readonly string[]) => [
    "env",
    ...Object.entries(env(side)).map(([name, value]) => `${name}=${value}`),
    ...command,
  ];
  return {
    name: "slim",
    ownPids: Object.values(routers).map(({ pid }) => pid),
    start: async (side, name, command) => {
      const { netns, address } = await fabric.container(side, name);
      return spawnServer({ netns }, address, inContainer(side, command));
    },
    run: async (side, command) => {
      const { netns } = await fabric.container(side, "run");
      const [program = "", ...args] = inContainer(side, command);
      return exec(program, args, { netns, timeoutMs: CLIENT_TIMEOUT_MS });
    },
    close,
  };
}

async function untilSocketExists(path: string, router: Server): Promise<void> {
  const deadline = Date.now() + ROUTER_READY_MS;
  while (!statSync(path, { throwIfNoEntry: false })?.isSocket()) {
    if (Date.now() > deadline) throw new CliError("failed", `Slim's router did not start: ${router.output()}`);
    await sleep(20);
  }
}
