/** Endpoints: what is attached where; labels can be changed. */
import { Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { FormDialog } from "../ui/fields.js";
import { useRefusal } from "../ui/identity.js";
import { Action, Table, Time, useUrlState } from "../ui/parts.js";
import { labelText, parseLabels } from "./nodes.js";

export function EndpointsPage() {
  const { endpoints, isComplete } = useResources();
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const edited = endpoints.find(({ network, name }) => `${network}/${name}` === form);
  return (
    <>
      <h1>Endpoints</h1>
      <section className="panel">
        <input
          data-filter
          aria-label="Filter"
          placeholder="name, address, node, label ( / )"
          value={text}
          onChange={(e) => setText(e.target.value)}
        />
        <Table
          label="Endpoints"
          items={endpoints.filter((each) =>
            `${each.network}/${each.name} ${each.address} ${each.node} ${labelText(each.labels)}`.includes(text),
          )}
          keyOf={({ network, name }) => `${network}/${name}`}
          empty={isComplete ? "No endpoint fits. One is made by: slimfast run -- COMMAND" : "Loading …"}
          columns={[
            {
              title: "Name",
              cell: ({ name }) => (
                <Link to="/connections" search={{ endpoint: name } as never}>
                  {name}
                </Link>
              ),
              sortBy: ({ name }) => name,
            },
            { title: "Network", cell: ({ network }) => network, sortBy: ({ network }) => network },
            { title: "Node", cell: ({ node }) => node, sortBy: ({ node }) => node },
            {
              title: "Address",
              cell: ({ address }) => <span className="mono">{address}</span>,
              sortBy: ({ address }) => address,
            },
            { title: "Id", cell: ({ id }) => id, sortBy: ({ id }) => id, isNumber: true },
            {
              title: "Published",
              cell: ({ publishedPorts }) =>
                publishedPorts.map(({ hostPort, endpointPort }) => `${hostPort}→${endpointPort}`).join(", "),
            },
            { title: "Labels", cell: ({ labels }) => labelText(labels) },
            {
              title: "Since",
              cell: ({ createTime }) => <Time at={createTime} />,
              sortBy: ({ createTime }) => createTime?.getTime() ?? 0,
            },
            {
              title: "",
              cell: ({ network, name }) => (
                <Action refusal={refusal} onClick={() => setForm(`${network}/${name}`)}>
                  Labels
                </Action>
              ),
            },
          ]}
        />
      </section>
      {edited ? (
        <FormDialog
          title={`Labels of ${edited.name}`}
          verb="Save"
          done="The labels are saved."
          refusal={refusal}
          onClose={() => setForm("")}
          fields={[{ key: "labels", title: "Labels (key=value, …)", value: labelText(edited.labels) }]}
          submit={async ({ labels: written = "" }) => {
            const labels = parseLabels(written);
            if (!labels) throw new Error("labels are written as key=value, separated by commas");
            const { network, name, etag } = edited;
            await controller.cluster.updateEndpoint({
              endpoint: { network, name, etag, labels },
              updateMask: ["labels"],
            });
          }}
        />
      ) : null}
    </>
  );
}
