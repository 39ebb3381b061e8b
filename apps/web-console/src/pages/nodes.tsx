/** Nodes: health, drain and its undoing, forgetting one that is gone. */
import { type Node, NodeState, Role } from "@slimfast/proto";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { ports } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Confirm, Table, Time, useUrlState } from "../ui/parts.js";

const isDraining = (node: Node): boolean => node.state === NodeState.NODE_STATE_DRAINING;

export function NodesPage() {
  const { nodes, endpoints, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [text, setText] = useUrlState("q");
  const [forgotten, setForgotten] = useState<Node | null>(null);
  const used = (name: string): number => endpoints.filter(({ node }) => node === name).length;
  const drain = (node: Node): void => {
    const state = isDraining(node) ? NodeState.NODE_STATE_ACTIVE : NodeState.NODE_STATE_DRAINING;
    const done = isDraining(node) ? `${node.name} takes new endpoints again.` : `${node.name} takes no new endpoints.`;
    void attempt(
      () => controller.cluster.updateNode({ node: { name: node.name, etag: node.etag, state }, updateMask: ["state"] }),
      done,
    );
  };
  return (
    <>
      <h1>Nodes</h1>
      <section className="panel">
        <input
          data-filter
          aria-label="Filter"
          placeholder="name or address ( / )"
          value={text}
          onChange={(e) => setText(e.target.value)}
        />
        <Table
          label="Nodes"
          items={nodes.filter(({ name, underlayAddress }) => `${name} ${underlayAddress}`.includes(text))}
          keyOf={({ name }) => name}
          empty={isComplete ? "No node. Start an agent, or clear the filter." : "Loading …"}
          columns={[
            { title: "Name", cell: ({ name }) => name, sortBy: ({ name }) => name },
            {
              title: "Agent",
              cell: ({ connected }) => (
                <span className={connected ? "ok" : "bad"}>{connected ? "connected" : "lost"}</span>
              ),
            },
            { title: "State", cell: (node) => (isDraining(node) ? <span className="warn">draining</span> : "active") },
            { title: "Underlay", cell: (node) => <span className="mono">{node.underlayAddress}</span> },
            { title: "Front ports", cell: (node) => ports(node.frontPorts), isNumber: true },
            { title: "Endpoints", cell: ({ name }) => used(name), sortBy: ({ name }) => used(name), isNumber: true },
            { title: "Labels", cell: ({ labels }) => labelText(labels) },
            { title: "Certificate ends", cell: (node) => <Time at={node.certificateExpireTime} /> },
            {
              title: "",
              cell: (node) => (
                <span className="row">
                  <Action refusal={refusal} onClick={() => drain(node)}>
                    {isDraining(node) ? "Use again" : "Drain"}
                  </Action>
                  <Action
                    kind="danger"
                    refusal={refusal ?? (node.connected ? "its agent is connected" : null)}
                    onClick={() => setForgotten(node)}
                  >
                    Forget
                  </Action>
                </span>
              ),
            },
          ]}
        />
      </section>
      {forgotten ? (
        <Confirm
          title={`Forget ${forgotten.name}?`}
          breaks={`Its ${used(forgotten.name)} endpoints and all its reservations go with it.`}
          verb="Forget"
          onConfirm={() =>
            void attempt(
              () => controller.cluster.deleteNode({ name: forgotten.name }),
              `${forgotten.name} is forgotten.`,
            )
          }
          onClose={() => setForgotten(null)}
        />
      ) : null}
    </>
  );
}

export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}

/** `a=b, c=d`; undefined if it is no such list. */
export function parseLabels(text: string): Record<string, string> | undefined {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.some((part) => !/^[^=]+=[^=]*$/.test(part))) return undefined;
  return Object.fromEntries(parts.map((part) => part.split("=", 2) as [string, string]));
}
