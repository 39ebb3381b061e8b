/** `slimfast node …`. */
import { type Node, NodeState } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { NODE_STATE } from "../resources/enums.js";
import { changeLabels } from "../resources/labels.js";
import { printResource } from "../resources/list.js";
import { NODES } from "../resources/views.js";

type Options = RemoteOptions & { readonly json?: boolean };

export async function getNode(name: string, options: Options): Promise<void> {
  const { node } = await withCluster(options, ({ cluster }) => cluster.getNode({ name }));
  printResource(NODES, present(node), options.json === true);
}

export async function setNodeState(name: string, state: NodeState, options: Options): Promise<void> {
  const { node } = await withCluster(options, ({ cluster }) =>
    cluster.updateNode({ node: { name, state }, updateMask: ["state"] }),
  );
  if (options.json) printJson({ ok: true, node: NODES.json(present(node)) });
  else
    printLine(
      `Node ${name} is ${NODE_STATE.name(state)}${state === NodeState.NODE_STATE_DRAINING ? ": it gets no new endpoints, and keeps those it has" : ""}`,
    );
}

export async function labelNode(name: string, changes: readonly string[], options: Options): Promise<void> {
  const { node } = await withCluster(options, async ({ cluster }) => {
    const { labels, etag } = present((await cluster.getNode({ name })).node);
    return cluster.updateNode({ node: { name, labels: changeLabels(labels, changes), etag }, updateMask: ["labels"] });
  });
  if (options.json) printJson({ ok: true, node: NODES.json(present(node)) });
  else printLine(`Labelled node ${name}`);
}

export async function deleteNode(name: string, options: Options): Promise<void> {
  await withCluster(options, ({ cluster }) => cluster.deleteNode({ name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Deleted node ${name}, with its endpoints and reservations`);
}

function present(node: Node | undefined): Node {
  if (!node) throw new CliError("failed", "the controller's answer has no node in it");
  return node;
}
