/** Networks: create, edit, delete. */
import { type Network, Role } from "@slimfast/proto";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { FormDialog } from "../ui/fields.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Confirm, Table, useUrlState } from "../ui/parts.js";
import { labelText, parseLabels } from "./nodes.js";

export function NetworksPage() {
  const { networks, endpoints, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [form, setForm] = useUrlState("form");
  const [deleted, setDeleted] = useState<Network | null>(null);
  const used = (name: string): number => endpoints.filter(({ network }) => network === name).length;
  const old = networks.find(({ name }) => `edit:${name}` === form);
  return (
    <>
      <div className="row">
        <h1 className="grow">Networks</h1>
        <Action kind="primary" refusal={refusal} onClick={() => setForm("new")}>
          Create network
        </Action>
      </div>
      <section className="panel">
        <Table
          label="Networks"
          items={networks}
          keyOf={({ name }) => name}
          empty={isComplete ? "No network yet. Create one above." : "Loading …"}
          columns={[
            { title: "Name", cell: ({ name }) => name, sortBy: ({ name }) => name },
            {
              title: "Prefix",
              cell: ({ prefix }) => <span className="mono">{prefix}</span>,
              sortBy: ({ prefix }) => prefix,
            },
            { title: "VNI", cell: ({ vni }) => vni, sortBy: ({ vni }) => vni, isNumber: true },
            { title: "Endpoints", cell: ({ name }) => used(name), sortBy: ({ name }) => used(name), isNumber: true },
            {
              title: "Without policy",
              cell: ({ defaultDeny }) => (defaultDeny ? <span className="warn">denied</span> : "allowed"),
            },
            { title: "Labels", cell: ({ labels }) => labelText(labels) },
            { title: "Description", cell: ({ description }) => description },
            {
              title: "",
              cell: (network) => (
                <span className="row">
                  <Action refusal={refusal} onClick={() => setForm(`edit:${network.name}`)}>
                    Edit
                  </Action>
                  <Action
                    kind="danger"
                    refusal={refusal ?? (used(network.name) > 0 ? "it has endpoints" : null)}
                    onClick={() => setDeleted(network)}
                  >
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
          title={old ? `Edit ${old.name}` : "Create network"}
          verb={old ? "Save" : "Create"}
          done={old ? `${old.name} is saved.` : "The network is created."}
          refusal={refusal}
          onClose={() => setForm("")}
          fields={[
            { key: "name", title: "Name", value: old?.name ?? "", isFixed: old !== undefined, isRequired: true },
            {
              key: "prefix",
              title: "Prefix, for example 10.40.0.0/16",
              value: old?.prefix ?? "",
              isFixed: old !== undefined,
              isRequired: true,
            },
            {
              key: "deny",
              title: "A connection that no policy allows is",
              value: old?.defaultDeny ? "denied" : "allowed",
              options: ["allowed", "denied"],
            },
            { key: "labels", title: "Labels (key=value, …)", value: labelText(old?.labels ?? {}) },
            { key: "description", title: "Description", value: old?.description ?? "" },
          ]}
          submit={async (values) => {
            const labels = parseLabels(values.labels ?? "");
            if (!labels) throw new Error("labels are written as key=value, separated by commas");
            const network = {
              name: values.name ?? "",
              prefix: values.prefix ?? "",
              description: values.description ?? "",
              labels,
              defaultDeny: values.deny === "denied",
              etag: old?.etag ?? "",
            };
            if (old)
              await controller.cluster.updateNetwork({
                network,
                updateMask: ["description", "labels", "default_deny"],
              });
            else await controller.cluster.createNetwork({ network });
          }}
        />
      ) : null}
      {deleted ? (
        <Confirm
          title={`Delete ${deleted.name}?`}
          breaks="Its policies are deleted with it."
          verb="Delete"
          cli={`slimfast network delete ${deleted.name}`}
          onConfirm={() =>
            void attempt(
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
