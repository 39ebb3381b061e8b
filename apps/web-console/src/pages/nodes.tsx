/** Nodes: health, labels, drain and its undoing, joining, forgetting one that is gone. */
import { Node as Codec, type Node, NodeState, Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { Action, Cli } from "../ui/action.js";
import { Time } from "../ui/clock.js";
import { actionsColumn, labelsColumn, linkedCountColumn, monoColumn, nameColumn, timeColumn } from "../ui/columns.js";
import { deleteNode, drainNode, joinNode, labelNode, shellWord } from "../ui/commands.js";
import { Confirm, Dialog } from "../ui/dialog.js";
import { FormDialog } from "../ui/fields.js";
import { hasWords } from "../ui/filters.js";
import { count, ports } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { labelText, parseLabels } from "../ui/labels.js";
import { Listing } from "../ui/listing.js";
import { attempt } from "../ui/toasts.js";
import { useUrlState } from "../ui/url.js";

const isDraining = (node: Node): boolean => node.state === NodeState.NODE_STATE_DRAINING;
const stateOf = (node: Node): string => (isDraining(node) ? "draining" : "active");

const EXPORTED = [
  { name: "name", text: ({ name }: Node) => name },
  { name: "connected", text: ({ connected }: Node) => String(connected) },
  { name: "state", text: stateOf },
  { name: "underlay_address", text: ({ underlayAddress }: Node) => underlayAddress },
  { name: "front_ports", text: ({ frontPorts }: Node) => ports(frontPorts) },
  { name: "agent_version", text: ({ agentVersion }: Node) => agentVersion },
  { name: "labels", text: ({ labels }: Node) => labelText(labels) },
];

export function NodesPage() {
  const { nodes, endpoints, reservations, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const adminRefusal = useRefusal(Role.ROLE_ADMIN);
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const [forgotten, setForgotten] = useState<Node | null>(null);
  const [joinCommand, setJoinCommand] = useState("");
  const [drained, setDrained] = useState<Node | null>(null);
  const on = (name: string) => endpoints.filter(({ node }) => node === name);
  const labelled = nodes.find(({ name }) => `labels:${name}` === form);
  const shown = nodes.filter((each) =>
    hasWords(text, `${each.name} ${each.underlayAddress} ${stateOf(each)} ${labelText(each.labels)}`),
  );
  const setState = (node: Node, state: NodeState, done: string) =>
    attempt(
      () => controller.cluster.updateNode({ node: { name: node.name, etag: node.etag, state }, updateMask: ["state"] }),
      done,
    );
  return (
    <>
      <Listing<Node>
        title="Nodes"
        noun="node"
        create={{ verb: "Add node", refusal: adminRefusal, onClick: () => setForm("new") }}
        filter={{ fields: "name, address, label", value: text, onChange: setText }}
        shown={shown}
        total={nodes.length}
        isComplete={isComplete}
        hint="Add one above, and run the command on its machine."
        keyOf={({ name }) => name}
        file={{ name: "nodes", columns: EXPORTED, toJson: (each) => Codec.toJSON(each) }}
        columns={[
          nameColumn(),
          {
            title: "Agent",
            cell: ({ connected, agentVersion }) => (
              <span className={`badge ${connected ? "ok" : "bad"}`} title={agentVersion}>
                {connected ? "connected" : "lost"}
              </span>
            ),
            sortBy: ({ connected }) => Number(connected),
          },
          {
            title: "State",
            cell: (node) => <span className={`badge ${isDraining(node) ? "warn" : "dim"}`}>{stateOf(node)}</span>,
            sortBy: stateOf,
          },
          monoColumn("Underlay", ({ underlayAddress }) => underlayAddress),
          {
            title: "Front ports",
            cell: (node) => (
              <Link to="/ports" search={{ node: node.name } as never}>
                {ports(node.frontPorts)}
              </Link>
            ),
            isNumber: true,
          },
          linkedCountColumn(
            "Endpoints",
            ({ name }) => on(name).length,
            "/endpoints",
            ({ name }) => ({ node: name }),
          ),
          labelsColumn(),
          {
            title: "Certificate ends",
            cell: (node) =>
              node.certificateExpireTime ? (
                <Time at={node.certificateExpireTime} />
              ) : (
                <span className="dim" title="its agent comes by a local socket">
                  none
                </span>
              ),
          },
          timeColumn("Joined", ({ createTime }) => createTime),
          actionsColumn((node) => (
            <>
              <Action
                kind="quiet"
                refusal={refusal}
                label={`Labels of ${node.name}`}
                onClick={() => setForm(`labels:${node.name}`)}
              >
                Labels
              </Action>
              <Action
                kind="quiet"
                refusal={refusal}
                label={isDraining(node) ? `Use ${node.name} again` : `Drain ${node.name}`}
                onClick={() => setDrained(node)}
              >
                {isDraining(node) ? "Use again" : "Drain"}
              </Action>
              <Action
                kind="quiet"
                refusal={refusal ?? (node.connected ? "its agent is connected: stop it first" : null)}
                label={`Forget ${node.name}`}
                onClick={() => setForgotten(node)}
              >
                Forget
              </Action>
            </>
          )),
        ]}
      />
      {form === "new" ? <AddNode refusal={adminRefusal} onMade={setJoinCommand} onClose={() => setForm("")} /> : null}
      {joinCommand === "" ? null : (
        <Dialog title="Run this on the new machine" onClose={() => setJoinCommand("")}>
          <p>As root. The token in it is for one node, ends in an hour, and is not shown again.</p>
          <Cli command={joinCommand} title="On the new machine" />
        </Dialog>
      )}
      {labelled ? (
        <FormDialog
          title={`Labels of ${labelled.name}`}
          verb="Save"
          done="The labels are saved."
          refusal={refusal}
          onClose={() => setForm("")}
          fields={[
            {
              key: "labels",
              title: "Labels",
              value: labelText(labelled.labels),
              hint: "key=value, separated by commas; those that its agent brings come again when it connects",
            },
          ]}
          cli={({ labels = "" }) => labelNode(labelled.name, labelled.labels, parseLabels(labels))}
          submit={async ({ labels = "" }) => {
            const node = { name: labelled.name, etag: labelled.etag, labels: parseLabels(labels) };
            await controller.cluster.updateNode({ node, updateMask: ["labels"] });
          }}
        />
      ) : null}
      {drained ? (
        <Confirm
          title={isDraining(drained) ? `Use ${drained.name} again?` : `Drain ${drained.name}?`}
          breaks={
            isDraining(drained)
              ? "It takes new endpoints from then on."
              : `Nothing new starts on it: creating an endpoint there fails. The ${count(on(drained.name).length)} that it has go on.`
          }
          verb={isDraining(drained) ? "Use again" : "Drain"}
          cli={drainNode(drained.name, isDraining(drained))}
          onConfirm={() =>
            isDraining(drained)
              ? setState(drained, NodeState.NODE_STATE_ACTIVE, `${drained.name} takes new endpoints again.`)
              : setState(drained, NodeState.NODE_STATE_DRAINING, `${drained.name} takes no new endpoints.`)
          }
          onClose={() => setDrained(null)}
        />
      ) : null}
      {forgotten ? (
        <Confirm
          title={`Forget ${forgotten.name}?`}
          breaks={
            <>
              <p>
                Its {count(on(forgotten.name).length)} endpoints and its{" "}
                {count(reservations.filter(({ node }) => node === forgotten.name).length)} reservations go with it.
                Their addresses may be given to others.
              </p>
              <ul>
                {on(forgotten.name).map(({ network, name, address }) => (
                  <li key={`${network}/${name}`}>
                    {network}/{name} <span className="mono dim">{address}</span>
                  </li>
                ))}
              </ul>
            </>
          }
          verb="Forget"
          cli={deleteNode(forgotten.name)}
          onConfirm={() =>
            attempt(() => controller.cluster.deleteNode({ name: forgotten.name }), `${forgotten.name} is forgotten.`)
          }
          onClose={() => setForgotten(null)}
        />
      ) : null}
    </>
  );
}

/** A join token for one node, and the command that uses it. */
function AddNode(props: {
  readonly refusal: string | null;
  readonly onMade: (command: string) => void;
  readonly onClose: () => void;
}) {
  return (
    <FormDialog
      title="Add node"
      verb="Make a join token"
      done="The join token is made."
      refusal={props.refusal}
      onClose={props.onClose}
      fields={[
        { key: "name", title: "Name", isRequired: true },
        {
          key: "underlay",
          title: "Underlay address",
          isRequired: true,
          hint: "IPv4 address of the machine that other nodes reach",
        },
      ]}
      cli={({ name = "", underlay = "" }) => joinNode(name, underlay)}
      submit={async ({ name = "", underlay = "" }) => props.onMade(await makeJoinCommand(name, underlay))}
    />
  );
}

/** @throws Error if no controller could be joined */
async function makeJoinCommand(node: string, underlay: string): Promise<string> {
  const suffix = crypto.getRandomValues(new Uint32Array(1))[0]?.toString(16).padStart(8, "0");
  const token = { name: `join-${suffix}`, role: Role.ROLE_JOIN, usesLeft: 1, description: `for node ${node}` };
  const { secret, controllers } = await controller.access.createToken({ token });
  if (controllers.length === 0) {
    await controller.access.revokeToken({ name: token.name });
    throw new Error(
      "No controller of this cluster listens for agents over TLS: start it with --listen ADDRESS:PORT --tls; on one machine: slimfast up --tls.",
    );
  }
  const servers = controllers.flatMap((address) => ["--controller", address]);
  // The second part is what the new node recognises the cluster by.
  const pin = secret.split(".")[1] ?? "";
  const own = ["--node", shellWord(node), "--underlay", shellWord(underlay)];
  return ["./slimfast", "agent", ...own, ...servers, "--join-token", secret, "--ca-pin", pin].join(" ");
}
