/** `slimfast recover-node`, which `down` runs in a node's network namespace. */
import { recover } from "@slimfast/core";

export async function recoverNode(runDir: string): Promise<void> {
  await recover(runDir);
}
