/** `slimfast node …`. */
import { type Node, NodeState, Role } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import { type RemoteOptions, remoteTarget } from "../remote/settings.js";
import { NODE_STATE } from "../resources/enums.js";
import { changeLabels } from "../resources/labels.js";
import { printResource } from "../resources/list.js";
import { formatTime, parseCount, parseDuration } from "../resources/values.js";
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

/** A token that lets machines join, and the command to run on them. */
export async function joinCommand(
  options: Options & { readonly expires?: string; readonly uses: string; readonly controller?: string },
): Promise<void> {
  const lifetime = options.expires === undefined ? undefined : parseDuration(options.expires, "--expires");
  const usesLeft = parseCount(options.uses, "--uses", 0, 1_000_000);
  const target = remoteTarget(options)?.address;
  const controller = options.controller ?? (typeof target === "string" ? target : target?.join(","));
  if (controller === undefined || /(^|,)unix:/.test(controller)) {
    throw new CliError("usage", "--controller is missing: where machines that join reach the controller", {
      remedy: "for example: slimfast node join-command --controller 192.0.2.10:7443",
    });
  }
  const name = `join-${Math.floor(Date.now() / 1_000).toString(36)}`;
  const { token, secret } = await withCluster(options, ({ access }) =>
    access.createToken({
      token: { name, role: Role.ROLE_JOIN, usesLeft, description: "slimfast node join-command" },
      ...(lifetime === undefined ? {} : { lifetime }),
    }),
  );
  const command = `slimfast-agent --node NAME --underlay ADDRESS --controller ${controller} --join-token ${secret}`;
  if (options.json) {
    printJson({ ok: true, command, token: name, secret, expireTime: token?.expireTime });
    return;
  }
  printLine(command);
  process.stderr.write(
    `slimfast: ${usesLeft === 0 ? "any number of nodes" : `${usesLeft} node(s)`} may join with it until ${formatTime(token?.expireTime)}; take it back with: slimfast token revoke ${name}\n`,
  );
}

function present(node: Node | undefined): Node {
  if (!node) throw new CliError("failed", "the controller's answer has no node in it");
  return node;
}
