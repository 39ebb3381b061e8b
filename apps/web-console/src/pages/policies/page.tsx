/** Policies: create, edit, delete; each can be tried against the last connections before it is applied. */
import { Policy as Codec, type Policy, PolicyAction, Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useResources } from "../../live/resources.js";
import { controller } from "../../live/session.js";
import { Action } from "../../ui/action.js";
import { actionsColumn, descriptionColumn, monoColumn, nameColumn, textColumn } from "../../ui/columns.js";
import { deletePolicy, type WantedPolicy, writePolicy } from "../../ui/commands.js";
import { Confirm } from "../../ui/dialog.js";
import { type Field, FormDialog, type Values } from "../../ui/fields.js";
import { Choice, hasWords } from "../../ui/filters.js";
import { parsePorts, ports } from "../../ui/format.js";
import { useRefusal, useRefusalIn } from "../../ui/identity.js";
import { listOf, parseSelectors, selectorsText } from "../../ui/labels.js";
import { Listing } from "../../ui/listing.js";
import { attempt } from "../../ui/toasts.js";
import { useUrlState } from "../../ui/url.js";
import { Trial, TrialOfDeletion } from "./trial.js";

const actionOf = ({ action }: Policy): string => (action === PolicyAction.POLICY_ACTION_DENY ? "deny" : "allow");
const portsOf = (policy: Policy): string => policy.ports.map(ports).join(", ") || "all";

const EXPORTED = [
  { name: "network", text: ({ network }: Policy) => network },
  { name: "name", text: ({ name }: Policy) => name },
  { name: "action", text: actionOf },
  { name: "from", text: ({ from }: Policy) => selectorsText(from) },
  { name: "to", text: ({ to }: Policy) => selectorsText(to) },
  { name: "ports", text: portsOf },
  { name: "description", text: ({ description }: Policy) => description },
];

/** @throws Error that says what is wrong with the values */
function policyOf(values: Values): WantedPolicy {
  return {
    name: values.name ?? "",
    network: values.network ?? "",
    action: values.action === "deny" ? PolicyAction.POLICY_ACTION_DENY : PolicyAction.POLICY_ACTION_ALLOW,
    from: parseSelectors(values.from ?? ""),
    to: parseSelectors(values.to ?? ""),
    ports: listOf(values.ports ?? "").map((part) => {
      const range = parsePorts(part);
      if (!range || range.first === 0) throw new Error(`${part}: ports are written 80, 8000-8099`);
      return range;
    }),
    description: values.description ?? "",
  };
}

function fieldsOf(old: Policy | undefined, networks: readonly string[]): Field[] {
  const selectors = "all, key=value, @endpoint or 10.32.1.0/24, joined by commas; alternatives after a semicolon";
  return [
    {
      key: "network",
      title: "Network",
      value: old?.network ?? networks[0] ?? "",
      options: networks,
      isFixed: old !== undefined,
    },
    { key: "name", title: "Name", value: old?.name ?? "", isFixed: old !== undefined, isRequired: true },
    { key: "action", title: "Such connections are", value: old ? actionOf(old) : "allow", options: ["allow", "deny"] },
    { key: "from", title: "From", value: selectorsText(old?.from ?? []) || "all", hint: selectors },
    { key: "to", title: "To", value: selectorsText(old?.to ?? []) || "all" },
    {
      key: "ports",
      title: "Ports",
      value: old?.ports.map((range) => ports(range)).join(", ") ?? "",
      hint: "80, 8000-8099; empty: all",
    },
    { key: "description", title: "Description", value: old?.description ?? "" },
  ];
}

export function PoliciesPage() {
  const { policies, networks, isComplete } = useResources();
  const [text, setText] = useUrlState("q");
  const [network, setNetwork] = useUrlState("network");
  const [form, setForm] = useUrlState("form");
  const [deleted, setDeleted] = useState<Policy | null>(null);
  const refusalIn = useRefusalIn(Role.ROLE_OPERATOR);
  const old = policies.find((each) => `${each.network}/${each.name}` === form);
  const refusal = useRefusal(Role.ROLE_OPERATOR, old?.network ?? networks[0]?.name);
  const shown = policies.filter(
    (each) =>
      (network === "" || each.network === network) &&
      hasWords(
        text,
        `${each.network}/${each.name} ${actionOf(each)} ${selectorsText(each.from)} ${selectorsText(each.to)} ${portsOf(each)} ${each.description}`,
      ),
  );
  return (
    <>
      <Listing<Policy>
        title="Policies"
        noun="policy"
        create={{ verb: "Create policy", refusal, onClick: () => setForm("new") }}
        filter={{ fields: "name, label, port", value: text, onChange: setText }}
        filters={
          <Choice label="Network" value={network} options={networks.map(({ name }) => name)} onChange={setNetwork} />
        }
        note={
          <p className="dim">
            A policy that denies wins over those that allow. Where none matches, the network decides:{" "}
            {networks.map(({ name, defaultDeny }, index) => (
              <span key={name}>
                {index > 0 ? ", " : ""}
                <Link to="/networks" search={{ q: name } as never}>
                  {name}
                </Link>{" "}
                {defaultDeny ? "denies" : "allows"}
              </span>
            ))}
            .
          </p>
        }
        shown={shown}
        total={policies.length}
        isComplete={isComplete}
        hint="Each network's own default decides. Create one above."
        keyOf={(each) => `${each.network}/${each.name}`}
        file={{ name: "policies", columns: EXPORTED, toJson: (each) => Codec.toJSON(each) }}
        columns={[
          nameColumn(),
          textColumn("Network", (each) => each.network),
          {
            title: "Action",
            cell: (each) => (
              <span className={`badge ${actionOf(each) === "deny" ? "bad" : "ok"}`}>{actionOf(each)}</span>
            ),
            sortBy: actionOf,
          },
          monoColumn("From", ({ from }) => selectorsText(from)),
          monoColumn("To", ({ to }) => selectorsText(to)),
          textColumn("Ports", portsOf),
          descriptionColumn(),
          actionsColumn((each) => (
            <>
              <Link
                className="button quiet"
                to="/connections"
                search={{ network: each.network, port: String(each.ports[0]?.first ?? "") } as never}
              >
                Connections
              </Link>
              <Action
                kind="quiet"
                refusal={refusalIn(each.network)}
                label={`Edit ${each.name}`}
                onClick={() => setForm(`${each.network}/${each.name}`)}
              >
                Edit
              </Action>
              <Action
                kind="quiet"
                refusal={refusalIn(each.network)}
                label={`Delete ${each.name}`}
                onClick={() => setDeleted(each)}
              >
                Delete
              </Action>
            </>
          )),
        ]}
      />
      {(form === "new" && networks.length > 0) || old ? (
        <FormDialog
          title={old ? `Edit ${old.name}` : "Create policy"}
          verb="Apply"
          done="The policy is applied."
          refusal={refusal}
          onClose={() => setForm("")}
          fields={fieldsOf(
            old,
            networks.map(({ name }) => name),
          )}
          cli={(values) => writePolicy(old ? "update" : "create", policyOf(values))}
          submit={async (values) => {
            const policy = { ...policyOf(values), etag: old?.etag ?? "" };
            if (old) await controller.cluster.updatePolicy({ policy, updateMask: [] });
            else await controller.cluster.createPolicy({ policy });
          }}
        >
          {(values) => <Trial policyOf={() => policyOf(values)} />}
        </FormDialog>
      ) : null}
      {deleted ? (
        <Confirm
          title={`Delete ${deleted.name}?`}
          breaks={<TrialOfDeletion network={deleted.network} name={deleted.name} />}
          verb="Delete"
          cli={deletePolicy(deleted.network, deleted.name)}
          onConfirm={() =>
            attempt(
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
