/** A connection to the controller that the command is about, for as long as the command needs it. */
import { type ControllerClient, connectController } from "@slimfast/client";
import { requireCluster } from "../cluster/access.js";
import { controllerAddress } from "../cluster/plan.js";
import { type RemoteOptions, remoteTarget } from "./settings.js";

/** @throws CliError `notUp` if no server is named and no cluster is up on this machine. */
export async function withCluster<Result>(
  options: RemoteOptions,
  body: (controller: ControllerClient) => Promise<Result>,
): Promise<Result> {
  const target = remoteTarget(options) ?? { address: controllerAddress(requireCluster().plan.runDir) };
  const controller = connectController(target);
  try {
    return await body(controller);
  } finally {
    controller.close();
  }
}
