/** Networks: create, edit, delete. */
import { Network as Codec, type Network, Role } from "@slimfast/proto";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { Action } from "../ui/action.js";
import {
  actionsColumn,
  descriptionColumn,
  labelsColumn,
  linkedCountColumn,
  monoColumn,
  nameColumn,
  numberColumn,
} from "../ui/columns.js";
import { createNetwork, deleteNetwork, updateNetwork, type WantedNetwork } from "../ui/commands.js";
import { Confirm } from "../ui/dialog.js";
import { type Field, FormDialog, type Values } from "../ui/fields.js";
import { hasWords } from "../ui/filters.js";
import { count } from "../ui/format.js";
import { useRefusal, useRefusalIn } from "../ui/identity.js";
import { labelText, listOf, parseLabels } from "../ui/labels.js";
import { Listing } from "../ui/listing.js";
import { attempt } from "../ui/toasts.js";
import { useUrlState } from "../ui/url.js";

const EXPORTED = [
  { name: "name", text: ({ name }: Network) => name },
  { name: "prefix", text: ({ prefix }: Network) => prefix },
  { name: "prefix6", text: ({ prefix6 }: Network) => prefix6 },
  { name: "vni", text: ({ vni }: Network) => String(vni) },
  { name: "default", text: ({ defaultDeny }: Network) => (defaultDeny ? "deny" : "allow") },
  { name: "egress", text: ({ egress }: Network) => egress.join(" ") },
  { name: "labels", text: ({ labels }: Network) => labelText(labels) },
  { name: "description", text: ({ description }: Network) => description },
];

/** A whole number, 0 where nothing is written. @throws Error */
function wholeNumber(text: string, what: string): number {
  const value = Number(text.replace(/^\//, ""));
  if (!Number.isInteger(value) || value < 0) throw new Error(`${text}: ${what} is a whole number`);
  return value;
}

/** @throws Error that says what is wrong with the values */
function networkOf(values: Values): WantedNetwork {
  return {
    name: values.name ?? "",
    prefix: values.prefix ?? "",
    prefix6: values.prefix6 ?? "",
    vni: wholeNumber(values.vni ?? "", "a VNI"),
    nodeSubnetLength: wholeNumber(values.subnets ?? "", "the length of the nodes' subnets"),
    description: values.description ?? "",
    labels: parseLabels(values.labels ?? ""),
    defaultDeny: values.deny === "denied",
    egress: listOf(values.egress ?? ""),
  };
}

function fieldsOf(old: Network | undefined): Field[] {
  const isFixed = old !== undefined;
  return [
    { key: "name", title: "Name", value: old?.name ?? "", isFixed, isRequired: true },
    {
      key: "prefix",
      title: "IPv4 prefix",
      value: old?.prefix ?? "",
      isFixed,
      hint: "for example 10.40.0.0/16; empty: none",
    },
    {
      key: "prefix6",
      title: "IPv6 prefix",
      value: old?.prefix6 ?? "",
      isFixed,
      hint: "for example fd40::/64; empty: none; one of the two is needed",
    },
    {
      key: "vni",
      title: "VNI",
      value: old ? String(old.vni) : "",
      isFixed,
      hint: "1 to 16777215; empty: one is chosen",
    },
    {
      key: "subnets",
      title: "Length of each node's IPv4 subnet",
      value: old?.nodeSubnetLength ? String(old.nodeSubnetLength) : "",
      isFixed,
      hint: "for example 24; empty: addresses are given out one by one",
    },
    {
      key: "deny",
      title: "A connection that no policy allows is",
      value: old?.defaultDeny ? "denied" : "allowed",
      options: ["allowed", "denied"],
    },
    {
      key: "egress",
      title: "Ranges outside that it may connect to",
      value: old?.egress.join(", ") ?? "",
      hint: "for example 192.0.2.0/24, 2001:db8::/32; empty: none",
    },
    { key: "labels", title: "Labels", value: labelText(old?.labels ?? {}), hint: "key=value, separated by commas" },
    { key: "description", title: "Description", value: old?.description ?? "" },
  ];
}

const prefixesOf = ({ prefix, prefix6 }: Network): string => [prefix, prefix6].filter((each) => each !== "").join(", ");

export function NetworksPage() {
  const { networks, endpoints, policies, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const refusalIn = useRefusalIn(Role.ROLE_OPERATOR);
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const [deleted, setDeleted] = useState<Network | null>(null);
  const used = (name: string): number => endpoints.filter(({ network }) => network === name).length;
  const policiesOf = (name: string) => policies.filter(({ network }) => network === name);
  const old = networks.find(({ name }) => `edit:${name}` === form);
  const shown = networks.filter((each) =>
    hasWords(
      text,
      `${each.name} ${each.prefix} ${each.prefix6} ${each.vni} ${labelText(each.labels)} ${each.description}`,
    ),
  );
  return (
    <>
      <Listing<Network>
        title="Networks"
        noun="network"
        create={{ verb: "Create network", refusal, onClick: () => setForm("new") }}
        filter={{ fields: "name, prefix, label", value: text, onChange: setText }}
        shown={shown}
        total={networks.length}
        isComplete={isComplete}
        hint="Create one above."
        keyOf={({ name }) => name}
        file={{ name: "networks", columns: EXPORTED, toJson: (each) => Codec.toJSON(each) }}
        columns={[
          nameColumn(),
          monoColumn("Prefix", prefixesOf),
          numberColumn("VNI", ({ vni }) => vni, String),
          linkedCountColumn(
            "Endpoints",
            ({ name }) => used(name),
            "/endpoints",
            ({ name }) => ({ network: name }),
          ),
          linkedCountColumn(
            "Policies",
            ({ name }) => policiesOf(name).length,
            "/policies",
            ({ name }) => ({ network: name }),
          ),
          {
            title: "Without policy",
            cell: ({ defaultDeny }) => (
              <span className={`badge ${defaultDeny ? "warn" : "ok"}`}>{defaultDeny ? "denied" : "allowed"}</span>
            ),
          },
          {
            title: "Egress",
            cell: ({ egress }) =>
              egress.length === 0 ? (
                <span className="dim">none</span>
              ) : (
                <span className="mono">{egress.join(", ")}</span>
              ),
          },
          labelsColumn(),
          descriptionColumn(),
          actionsColumn((network) => (
            <>
              <Action
                kind="quiet"
                refusal={refusalIn(network.name)}
                label={`Edit ${network.name}`}
                onClick={() => setForm(`edit:${network.name}`)}
              >
                Edit
              </Action>
              <Action
                kind="quiet"
                label={`Delete ${network.name}`}
                refusal={
                  refusal ??
                  (used(network.name) > 0 ? `it has ${count(used(network.name))} endpoints: end them first` : null)
                }
                onClick={() => setDeleted(network)}
              >
                Delete
              </Action>
            </>
          )),
        ]}
      />
      {form === "new" || old ? (
        <FormDialog
          title={old ? `Edit ${old.name}` : "Create network"}
          verb={old ? "Save" : "Create"}
          done={old ? `${old.name} is saved.` : "The network is created."}
          refusal={old ? refusalIn(old.name) : refusal}
          onClose={() => setForm("")}
          fields={fieldsOf(old)}
          cli={(values) => (old ? updateNetwork(old, networkOf(values)) : createNetwork(networkOf(values)))}
          submit={async (values) => {
            const wanted = networkOf(values);
            const network = { ...wanted, egress: [...wanted.egress], etag: old?.etag ?? "" };
            if (old) {
              const updateMask = ["description", "labels", "default_deny", "egress"];
              await controller.cluster.updateNetwork({ network, updateMask });
            } else await controller.cluster.createNetwork({ network });
          }}
        />
      ) : null}
      {deleted ? (
        <Confirm
          title={`Delete ${deleted.name}?`}
          breaks={
            policiesOf(deleted.name).length === 0 ? (
              <p>Nothing is in it. Its VNI and prefix are free again.</p>
            ) : (
              <>
                <p>Its policies are deleted with it:</p>
                <ul>
                  {policiesOf(deleted.name).map(({ name, description }) => (
                    <li key={name}>
                      <strong>{name}</strong> {description}
                    </li>
                  ))}
                </ul>
              </>
            )
          }
          verb="Delete"
          cli={deleteNetwork(deleted.name)}
          onConfirm={() =>
            attempt(
              () => controller.cluster.deleteNetwork({ name: deleted.name, etag: deleted.etag }),
              `${deleted.name} is deleted.`,
            )
          }
          onClose={() => setDeleted(null)}
        />
      ) : null}
    </>
  );
}
