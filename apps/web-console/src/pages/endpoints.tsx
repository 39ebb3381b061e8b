/** Endpoints: what is attached where; labels can be changed, and the command that makes a new one is written. */
import { Endpoint as Codec, type Endpoint, Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller } from "../live/session.js";
import { Action, Cli } from "../ui/action.js";
import {
  actionsColumn,
  labelsColumn,
  monoColumn,
  nameColumn,
  numberColumn,
  textColumn,
  timeColumn,
} from "../ui/columns.js";
import { labelEndpoint, runEndpoint } from "../ui/commands.js";
import { Dialog } from "../ui/dialog.js";
import { FormDialog } from "../ui/fields.js";
import { Choice, hasWords } from "../ui/filters.js";
import { useRefusalIn } from "../ui/identity.js";
import { labelText, parseLabels } from "../ui/labels.js";
import { Listing } from "../ui/listing.js";
import { useUrlState } from "../ui/url.js";

function publishedText({ publishedPorts }: Endpoint): string {
  return publishedPorts.map(({ hostPort, endpointPort }) => `${hostPort} → ${endpointPort}`).join(", ");
}

function addressesOf({ address, address6 }: Endpoint): string {
  return [address, address6].filter((each) => each !== "").join(", ");
}

function unguardedText(count: number): string {
  return `${count} of its containers and execs may use io_uring, or it is not known: their seccomp profiles lack SlimFast's rules, which "slimfast oci-profile" adds. The log of the node's agent says why.`;
}

const EXPORTED = [
  { name: "network", text: ({ network }: Endpoint) => network },
  { name: "name", text: ({ name }: Endpoint) => name },
  { name: "node", text: ({ node }: Endpoint) => node },
  { name: "address", text: ({ address }: Endpoint) => address },
  { name: "address6", text: ({ address6 }: Endpoint) => address6 },
  { name: "id", text: ({ id }: Endpoint) => String(id) },
  { name: "published", text: publishedText },
  { name: "labels", text: ({ labels }: Endpoint) => labelText(labels) },
  { name: "unguarded_listeners", text: ({ unguardedListeners }: Endpoint) => String(unguardedListeners) },
  { name: "create_time", text: ({ createTime }: Endpoint) => createTime?.toISOString() ?? "" },
];

export function EndpointsPage() {
  const { endpoints, nodes, networks, isComplete } = useResources();
  const refusalIn = useRefusalIn(Role.ROLE_OPERATOR);
  const [text, setText] = useUrlState("q");
  const [node, setNode] = useUrlState("node");
  const [network, setNetwork] = useUrlState("network");
  const [form, setForm] = useUrlState("form");
  const edited = endpoints.find((each) => `${each.network}/${each.name}` === form);
  const shown = endpoints.filter(
    (each) =>
      (node === "" || each.node === node) &&
      (network === "" || each.network === network) &&
      hasWords(text, `${each.network}/${each.name} ${addressesOf(each)} ${each.node} ${labelText(each.labels)}`),
  );
  return (
    <>
      <Listing<Endpoint>
        title="Endpoints"
        noun="endpoint"
        create={{ verb: "New endpoint", refusal: null, onClick: () => setForm("new") }}
        filter={{ fields: "name, address, label", value: text, onChange: setText }}
        filters={
          <>
            <Choice label="Node" value={node} options={nodes.map(({ name }) => name)} onChange={setNode} />
            <Choice label="Network" value={network} options={networks.map(({ name }) => name)} onChange={setNetwork} />
          </>
        }
        shown={shown}
        total={endpoints.length}
        isComplete={isComplete}
        hint="One is made by: slimfast run -- COMMAND"
        keyOf={(each) => `${each.network}/${each.name}`}
        file={{ name: "endpoints", columns: EXPORTED, toJson: (each) => Codec.toJSON(each) }}
        columns={[
          {
            ...nameColumn(),
            cell: (each) => (
              <Link to="/connections" search={{ endpoint: each.name, network: each.network } as never}>
                {each.name}
              </Link>
            ),
          },
          textColumn("Network", (each) => each.network),
          textColumn("Node", (each) => each.node),
          monoColumn("Address", addressesOf),
          numberColumn("Id", ({ id }) => id, String),
          monoColumn("Published", publishedText),
          {
            title: "TCP",
            cell: ({ plain, unguardedListeners }) => (
              <>
                {plain ? <span className="badge dim">plain</span> : <span className="badge ok">accelerated</span>}
                {unguardedListeners > 0 ? (
                  <span className="badge warn" title={unguardedText(unguardedListeners)}>
                    io_uring
                  </span>
                ) : null}
              </>
            ),
          },
          labelsColumn(),
          timeColumn("Since", ({ createTime }) => createTime),
          actionsColumn((each) => (
            <Action
              kind="quiet"
              refusal={refusalIn(each.network)}
              label={`Labels of ${each.name}`}
              onClick={() => setForm(`${each.network}/${each.name}`)}
            >
              Labels
            </Action>
          )),
        ]}
      />
      {form === "new" ? <NewEndpoint onClose={() => setForm("")} /> : null}
      {edited ? (
        <FormDialog
          title={`Labels of ${edited.name}`}
          verb="Save"
          done="The labels are saved."
          refusal={refusalIn(edited.network)}
          onClose={() => setForm("")}
          fields={[
            {
              key: "labels",
              title: "Labels",
              value: labelText(edited.labels),
              hint: "key=value, separated by commas; policies go by them",
            },
          ]}
          cli={({ labels = "" }) => labelEndpoint(edited, parseLabels(labels))}
          submit={async ({ labels = "" }) => {
            const { network: its, name, etag } = edited;
            await controller.cluster.updateEndpoint({
              endpoint: { network: its, name, etag, labels: parseLabels(labels) },
              updateMask: ["labels"],
            });
          }}
        />
      ) : null}
    </>
  );
}

/** An endpoint comes with the program that runs in it, so it is made where that is started. */
function NewEndpoint({ onClose }: { readonly onClose: () => void }) {
  const { nodes, networks } = useResources();
  const [wanted, setWanted] = useState({
    name: "",
    node: nodes[0]?.name ?? "",
    network: networks[0]?.name ?? "",
    publish: "",
    command: "",
  });
  const set = (key: keyof typeof wanted) => (event: { target: { value: string } }) =>
    setWanted({ ...wanted, [key]: event.target.value });
  return (
    <Dialog title="New endpoint" onClose={onClose}>
      <p>
        An endpoint lives as long as the program in it, so it is made by starting that, on the machine of the node.
        Orchestrators do it through the agent.
      </p>
      <div className="field">
        <label htmlFor="new-name">Name</label>
        <input id="new-name" value={wanted.name} autoComplete="off" onChange={set("name")} />
      </div>
      <div className="field">
        <label htmlFor="new-node">Node</label>
        <select id="new-node" value={wanted.node} onChange={set("node")}>
          {nodes.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="new-network">Network</label>
        <select id="new-network" value={wanted.network} onChange={set("network")}>
          {networks.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="new-publish">Published port</label>
        <input
          id="new-publish"
          value={wanted.publish}
          placeholder="8080:80"
          autoComplete="off"
          onChange={set("publish")}
        />
      </div>
      <div className="field">
        <label htmlFor="new-command">Command</label>
        <input
          id="new-command"
          value={wanted.command}
          placeholder="python3 -m http.server 80"
          autoComplete="off"
          onChange={set("command")}
        />
      </div>
      <Cli command={runEndpoint(wanted)} title="On the machine of the node" />
    </Dialog>
  );
}
