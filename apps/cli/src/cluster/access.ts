/** Connections to the controller and the agents of the cluster that is up on this machine. */
import { type AgentClient, type ControllerClient, connectAgent, connectController } from "@slimfast/client";
import { CliError } from "../exit-codes.js";
import { runDirectory } from "../paths.js";
import { isAlive } from "../process/identity.js";
import { agentAddress, controllerAddress, type NodePlan, runDirTag } from "./plan.js";
import { type ClusterState, readState } from "./state-file.js";

/** @throws CliError `notUp` */
export function requireCluster(): ClusterState {
  const state = readState(runDirectory());
  if (state?.phase !== "up") {
    throw new CliError("notUp", state ? `the cluster is ${state.phase}` : "no cluster is up on this machine", {
      remedy: "start one with: slimfast up --detach",
    });
  }
  if (!state.processes.some(isAlive)) {
    throw new CliError("notUp", "the cluster's processes have ended", {
      remedy: "start it again with: slimfast up --detach (what is left is removed first)",
    });
  }
  return state;
}

/** The node of that name; the tag of a test's cluster may be left out. @throws CliError `failed` */
export function findNode(state: ClusterState, name: string): NodePlan {
  const { nodes, runDir } = state.plan;
  const found = nodes.find((node) => node.name === name || node.name === `${runDirTag(runDir)}${name}`);
  if (!found) {
    throw new CliError("failed", `there is no node ${name}`, {
      remedy: `the nodes are: ${nodes.map((node) => node.name).join(", ")}`,
    });
  }
  return found;
}

export async function withController<Result>(
  state: ClusterState,
  body: (controller: ControllerClient) => Promise<Result>,
): Promise<Result> {
  const controller = connectController({ address: controllerAddress(state.plan.runDir) });
  try {
    return await body(controller);
  } finally {
    controller.close();
  }
}

export async function withAgent<Result>(
  node: NodePlan,
  body: (agent: AgentClient) => Promise<Result>,
): Promise<Result> {
  const agent = connectAgent({ address: agentAddress(node) });
  try {
    return await body(agent);
  } finally {
    agent.close();
  }
}
