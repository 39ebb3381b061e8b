/** Policies: create, edit, delete; each can be tried against the last connections before it is applied. */
import {
  type EndpointSelector,
  type Policy,
  PolicyAction,
  Role,
  type TryPolicyResponse,
  Verdict,
} from "@slimfast/proto";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller, messageOf } from "../live/session.js";
import { FormDialog, type Values } from "../ui/fields.js";
import { address, count, parsePorts, ports } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Confirm, Table, useUrlState } from "../ui/parts.js";
import { labelText, parseLabels } from "./nodes.js";

/** `any`, `endpoint:NAME`, `prefix:CIDR` or `key=value, …`; alternatives are separated by `;`. */
export function parseSelectors(text: string): EndpointSelector[] {
  return text.split(";").map((part) => {
    const one = part.trim();
    const selector = { labels: {}, prefix: "", endpoint: "" };
    if (one === "" || one === "any") return selector;
    if (one.startsWith("endpoint:")) return { ...selector, endpoint: one.slice("endpoint:".length) };
    if (one.startsWith("prefix:")) return { ...selector, prefix: one.slice("prefix:".length) };
    const labels = parseLabels(one);
    if (!labels) throw new Error(`${one}: write any, endpoint:NAME, prefix:CIDR or key=value`);
    return { ...selector, labels };
  });
}

export function selectorText(selectors: readonly EndpointSelector[]): string {
  const one = ({ labels, prefix, endpoint }: EndpointSelector): string =>
    [endpoint && `endpoint:${endpoint}`, prefix && `prefix:${prefix}`, labelText(labels)]
      .filter((part) => part !== "")
      .join(", ") || "any";
  return selectors.map(one).join("; ");
}

function policyOf(values: Values, old: Policy | undefined) {
  const ranges = (values.ports ?? "").split(",").filter((part) => part.trim() !== "");
  return {
    name: values.name ?? "",
    network: values.network ?? "",
    action: values.action === "deny" ? PolicyAction.POLICY_ACTION_DENY : PolicyAction.POLICY_ACTION_ALLOW,
    from: parseSelectors(values.from ?? ""),
    to: parseSelectors(values.to ?? ""),
    ports: ranges.map((part) => {
      const range = parsePorts(part);
      if (!range) throw new Error(`${part}: write ports as 80, 8000-8099`);
      return range;
    }),
    description: values.description ?? "",
    etag: old?.etag ?? "",
  };
}

export function PoliciesPage() {
  const { policies, networks, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [form, setForm] = useUrlState("form");
  const [deleted, setDeleted] = useState<Policy | null>(null);
  const old = policies.find(({ network, name }) => `${network}/${name}` === form);
  return (
    <>
      <div className="row">
        <h1 className="grow">Policies</h1>
        <Action kind="primary" refusal={refusal} onClick={() => setForm("new")}>
          Create policy
        </Action>
      </div>
      <section className="panel">
        <Table
          label="Policies"
          items={policies}
          keyOf={({ network, name }) => `${network}/${name}`}
          empty={isComplete ? "No policy yet: each network's own default decides. Create one above." : "Loading …"}
          columns={[
            { title: "Network", cell: ({ network }) => network, sortBy: ({ network }) => network },
            { title: "Name", cell: ({ name }) => name, sortBy: ({ name }) => name },
            {
              title: "Action",
              cell: ({ action }) =>
                action === PolicyAction.POLICY_ACTION_DENY ? (
                  <span className="bad">deny</span>
                ) : (
                  <span className="ok">allow</span>
                ),
            },
            { title: "From", cell: ({ from }) => selectorText(from) },
            { title: "To", cell: ({ to }) => selectorText(to) },
            { title: "Ports", cell: (policy) => policy.ports.map(ports).join(", ") || "all" },
            { title: "Description", cell: ({ description }) => description },
            {
              title: "",
              cell: (policy) => (
                <span className="row">
                  <Action refusal={refusal} onClick={() => setForm(`${policy.network}/${policy.name}`)}>
                    Edit
                  </Action>
                  <Action kind="danger" refusal={refusal} onClick={() => setDeleted(policy)}>
                    Delete
                  </Action>
                </span>
              ),
            },
          ]}
        />
      </section>
      {form === "new" || old ? (
        <FormDialog
          title={old ? `Edit ${old.name}` : "Create policy"}
          verb="Apply"
          done="The policy is applied."
          refusal={refusal}
          onClose={() => setForm("")}
          fields={[
            {
              key: "network",
              title: "Network",
              value: old?.network ?? networks[0]?.name ?? "",
              options: networks.map(({ name }) => name),
              isFixed: old !== undefined,
            },
            { key: "name", title: "Name", value: old?.name ?? "", isFixed: old !== undefined, isRequired: true },
            {
              key: "action",
              title: "Action",
              value: old?.action === PolicyAction.POLICY_ACTION_DENY ? "deny" : "allow",
              options: ["allow", "deny"],
            },
            {
              key: "from",
              title: "From (any, endpoint:NAME, prefix:CIDR, key=value; …)",
              value: selectorText(old?.from ?? []) || "any",
            },
            { key: "to", title: "To (the same)", value: selectorText(old?.to ?? []) || "any" },
            {
              key: "ports",
              title: "Ports (80, 8000-8099; empty: all)",
              value: old?.ports.map((range) => ports(range)).join(", ") ?? "",
            },
            { key: "description", title: "Description", value: old?.description ?? "" },
          ]}
          submit={async (values) => {
            const policy = policyOf(values, old);
            if (old) await controller.cluster.updatePolicy({ policy, updateMask: [] });
            else await controller.cluster.createPolicy({ policy });
          }}
        >
          {(values) => <Trial values={values} old={old} />}
        </FormDialog>
      ) : null}
      {deleted ? (
        <Confirm
          title={`Delete ${deleted.name}?`}
          breaks="Connections that it allows may be cut, and those that it denies may be made."
          verb="Delete"
          cli={`slimfast policy delete ${deleted.name} --network ${deleted.network}`}
          onConfirm={() =>
            void attempt(
              () =>
                controller.cluster.deletePolicy({ network: deleted.network, name: deleted.name, etag: deleted.etag }),
              `${deleted.name} is deleted.`,
            )
          }
          onClose={() => setDeleted(null)}
        />
      ) : null}
    </>
  );
}

function Trial({ values, old }: { readonly values: Values; readonly old: Policy | undefined }) {
  const [outcome, setOutcome] = useState<TryPolicyResponse | string | null>(null);
  const run = async (): Promise<void> => {
    try {
      setOutcome((await controller.operations.tryPolicy({ policy: policyOf(values, old) })) as TryPolicyResponse);
    } catch (error) {
      setOutcome(messageOf(error));
    }
  };
  return (
    <div>
      <Action onClick={() => void run()}>Try against the last connections</Action>
      {typeof outcome === "string" ? <p className="alert">{outcome}</p> : null}
      {outcome !== null && typeof outcome === "object" ? (
        <section aria-label="Trial">
          <p>
            Of {count(outcome.tried)} connections{" "}
            <strong className="bad">{count(outcome.newlyDenied)} would be denied</strong> and{" "}
            <strong className="ok">{count(outcome.newlyAllowed)} allowed</strong> that are not now.
          </p>
          <ul>
            {outcome.effects.slice(0, 8).map(({ connection: record, after }) => (
              <li key={record?.id}>
                {record?.connection?.endpoint} {address(record?.connection?.local)} ↔{" "}
                {address(record?.connection?.peer)}: {after === Verdict.VERDICT_DENIED ? "denied" : "allowed"}
              </li>
            ))}
          </ul>
        </section>
      ) : null}
    </div>
  );
}
