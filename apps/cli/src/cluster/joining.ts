/** Join tokens for the agents of a cluster with TLS: each is made for one node, and its file is gone when the node has joined. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectController } from "@slimfast/client";
import { Role } from "@slimfast/proto";
import { controllerAddress, type NodePlan } from "./plan.js";

const LIFETIME_SECONDS = 600n;

/** The arguments by which the agent joins; `done` takes the token away. */
export async function prepareJoin(runDir: string, node: NodePlan): Promise<{ args: string[]; done: () => void }> {
  const controller = connectController({ address: controllerAddress(runDir) });
  try {
    const { secret } = await controller.access.createToken({
      token: { name: `join-${node.name}`, role: Role.ROLE_JOIN, usesLeft: 1, description: "slimfast up --tls" },
      lifetime: { seconds: LIFETIME_SECONDS },
    });
    mkdirSync(node.runDir, { recursive: true, mode: 0o700 });
    const path = join(node.runDir, "join-token");
    writeFileSync(path, secret, { mode: 0o600 });
    const args = ["--join-token-file", path, "--state-dir", join(node.runDir, "identity")];
    return { args, done: () => rmSync(path, { force: true }) };
  } finally {
    controller.close();
  }
}
