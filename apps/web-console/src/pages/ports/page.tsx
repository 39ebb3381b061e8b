/** Port reservations: every reserved host port of the cluster; create, change, extend, release, one or many. */
import { PortReservation as Codec, type PortReservation, Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useResources } from "../../live/resources.js";
import { controller } from "../../live/session.js";
import { Action, Cli } from "../../ui/action.js";
import { Lease } from "../../ui/clock.js";
import { actionsColumn, descriptionColumn, textColumn } from "../../ui/columns.js";
import { extendPorts, releasePorts } from "../../ui/commands.js";
import { Confirm, Dialog } from "../../ui/dialog.js";
import { Exports } from "../../ui/exports.js";
import { Choice, hasWords, TextFilter } from "../../ui/filters.js";
import { parseLease, ports } from "../../ui/format.js";
import { useRefusal } from "../../ui/identity.js";
import { Table } from "../../ui/table.js";
import { attemptAll } from "../../ui/toasts.js";
import { useUrlState } from "../../ui/url.js";
import { isStatic, PURPOSES, purposeOf } from "./conflicts.js";
import { ReservationForm } from "./form.js";
import { Strip } from "./strip.js";

const keyOf = ({ node, ports: range }: PortReservation): string => `${node}/${range?.first}`;
const nameOf = ({ name }: PortReservation): string => name;

const EXPORTED = [
  { name: "node", text: (each: PortReservation) => each.node },
  { name: "first", text: (each: PortReservation) => String(each.ports?.first ?? "") },
  { name: "count", text: (each: PortReservation) => String(each.ports?.count ?? "") },
  { name: "purpose", text: purposeOf },
  { name: "owner", text: (each: PortReservation) => each.owner },
  { name: "name", text: nameOf },
  { name: "expire_time", text: (each: PortReservation) => each.expireTime?.toISOString() ?? "" },
  { name: "description", text: (each: PortReservation) => each.description },
];

export function PortsPage() {
  const { reservations, nodes, isComplete } = useResources();
  const [node, setNode] = useUrlState("node");
  const [purpose, setPurpose] = useUrlState("purpose");
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [asked, setAsked] = useState<{ what: "extend" | "release"; names: readonly string[] } | null>(null);
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const shown = reservations.filter(
    (each) =>
      (node === "" || each.node === node) &&
      (purpose === "" || purposeOf(each) === purpose) &&
      hasWords(text, `${each.node} ${each.name} ${each.owner} ${each.description} ${ports(each.ports)}`),
  );
  const shownStatic = shown.filter(isStatic);
  const chosen = reservations.filter((each) => isStatic(each) && picked.has(each.name));
  const changed = reservations.find((each) => isStatic(each) && `edit:${each.name}` === form);
  const askedFor = asked ? reservations.filter((each) => isStatic(each) && asked.names.includes(each.name)) : [];
  const pick = (name: string): void => {
    const next = new Set(picked);
    if (!next.delete(name)) next.add(name);
    setPicked(next);
  };
  const isAllPicked = shownStatic.length > 0 && shownStatic.every(({ name }) => picked.has(name));
  const bulkRefusal = refusal ?? (chosen.length === 0 ? "choose static reservations first, in the table" : null);
  const ask = (what: "extend" | "release", of: readonly PortReservation[]) => () =>
    setAsked({ what, names: of.map(nameOf) });
  const closeAsked = (): void => setAsked(null);
  return (
    <>
      <div className="row head">
        <h1 className="grow">Port reservations</h1>
        <Action kind="primary" refusal={refusal} onClick={() => setForm("new")}>
          Reserve ports
        </Action>
      </div>
      <section className="panel" aria-label="Ports of each node">
        {nodes.map((each) => (
          <Strip key={each.name} node={each} reservations={reservations.filter((one) => one.node === each.name)} />
        ))}
        <p className="row legend dim">
          {PURPOSES.slice(1).map((each) => (
            <span key={each}>
              <span className={`swatch ${each}`} />{" "}
              {{ front: "front ports", published: "published for an endpoint" }[each] ?? "static reservation"}
            </span>
          ))}
        </p>
      </section>
      <section className="panel">
        <div className="row tools">
          <TextFilter
            isMain
            label="Filter"
            placeholder="name, owner or port   /"
            size={22}
            value={text}
            onChange={setText}
          />
          <Choice label="Node" value={node} options={nodes.map(({ name }) => name)} onChange={setNode} />
          <Choice label="Purpose" value={purpose} options={PURPOSES.slice(1)} onChange={setPurpose} />
          <span className="grow" />
          <Action refusal={bulkRefusal} onClick={ask("extend", chosen)}>
            Extend{chosen.length > 0 ? ` ${chosen.length}` : ""}
          </Action>
          <Action kind="danger" refusal={bulkRefusal} onClick={ask("release", chosen)}>
            Release{chosen.length > 0 ? ` ${chosen.length}` : ""}
          </Action>
          <Exports name="port-reservations" items={shown} columns={EXPORTED} toJson={(each) => Codec.toJSON(each)} />
        </div>
        {shownStatic.length > 0 ? (
          <label className="check all">
            <input
              type="checkbox"
              checked={isAllPicked}
              onChange={() => setPicked(new Set(isAllPicked ? [] : shownStatic.map(nameOf)))}
            />
            Choose all {shownStatic.length} static ones that are shown
          </label>
        ) : null}
        <Table<PortReservation>
          label="Reservations"
          items={shown}
          keyOf={keyOf}
          empty={
            isComplete
              ? "Nothing is reserved that fits this filter. Reserve ports above, or clear the filter."
              : "Loading …"
          }
          columns={[
            {
              title: "Owner",
              cell: (each) => (
                <span className="row tight">
                  {isStatic(each) ? (
                    <input
                      type="checkbox"
                      aria-label={`Choose ${each.name}`}
                      checked={picked.has(each.name)}
                      onChange={() => pick(each.name)}
                    />
                  ) : (
                    <span className="check-gap" />
                  )}
                  <Owner of={each} />
                </span>
              ),
              sortBy: (each) => each.owner,
            },
            textColumn("Node", (each) => each.node),
            {
              title: "Ports",
              cell: (each) => ports(each.ports),
              sortBy: (each) => each.ports?.first ?? 0,
              isNumber: true,
            },
            {
              title: "Purpose",
              cell: (each) => (
                <span>
                  <span className={`swatch ${purposeOf(each)}`} /> {purposeOf(each)}
                </span>
              ),
              sortBy: purposeOf,
            },
            {
              title: "Lease",
              cell: (each) =>
                isStatic(each) ? (
                  <Lease from={each.createTime} until={each.expireTime} />
                ) : (
                  <span className="dim">with its owner</span>
                ),
              sortBy: (each) => each.expireTime?.getTime() ?? Number.MAX_VALUE,
            },
            descriptionColumn("What for"),
            actionsColumn((each) =>
              isStatic(each) ? (
                <>
                  <Action kind="quiet" refusal={refusal} label={`Extend ${each.name}`} onClick={ask("extend", [each])}>
                    Extend
                  </Action>
                  <Action
                    kind="quiet"
                    refusal={refusal}
                    label={`Change ${each.name}`}
                    onClick={() => setForm(`edit:${each.name}`)}
                  >
                    Change
                  </Action>
                  <Action
                    kind="quiet"
                    refusal={refusal}
                    label={`Release ${each.name}`}
                    onClick={ask("release", [each])}
                  >
                    Release
                  </Action>
                </>
              ) : null,
            ),
          ]}
        />
      </section>
      {form === "new" ? (
        <ReservationForm nodes={nodes} reservations={reservations} onClose={() => setForm("")} />
      ) : null}
      {changed ? (
        <ReservationForm nodes={nodes} reservations={reservations} old={changed} onClose={() => setForm("")} />
      ) : null}
      {asked?.what === "extend" && askedFor.length > 0 ? (
        <ExtendForm reservations={askedFor} refusal={refusal} onClose={closeAsked} />
      ) : null}
      {asked?.what === "release" && askedFor.length > 0 ? (
        <Confirm
          title={askedFor.length === 1 ? `Release ${askedFor[0]?.name}?` : `Release ${askedFor.length} reservations?`}
          breaks={
            <>
              <p>Anybody may take these ports from then on; what listens on them now goes on.</p>
              <ul>
                {askedFor.map((each) => (
                  <li key={each.name}>
                    <strong>{each.name}</strong>: {each.node} {ports(each.ports)}
                    {each.description === "" ? "" : `, for ${each.description}`}
                  </li>
                ))}
              </ul>
            </>
          }
          verb="Release"
          cli={askedFor.map(({ name }) => releasePorts(name)).join("\n")}
          onConfirm={async () => {
            await attemptAll(
              askedFor,
              nameOf,
              ({ name, etag }) => controller.cluster.deletePortReservation({ name, etag }),
              "Released",
            );
            setPicked(new Set());
          }}
          onClose={closeAsked}
        />
      ) : null}
    </>
  );
}

/** With a way to what it belongs to. */
function Owner({ of: { owner, name } }: { readonly of: PortReservation }) {
  const [kind, first = "", second = ""] = owner.split("/");
  if (kind === "endpoint") {
    return (
      <Link to="/endpoints" search={{ q: second } as never}>
        endpoint {first}/{second}
      </Link>
    );
  }
  if (kind === "node") {
    return (
      <Link to="/nodes" search={{ q: first } as never}>
        node {first}
      </Link>
    );
  }
  return <strong>{name}</strong>;
}

function ExtendForm(props: {
  readonly reservations: readonly PortReservation[];
  readonly refusal: string | null;
  readonly onClose: () => void;
}) {
  const { reservations } = props;
  const [lease, setLease] = useState("1h");
  const seconds = lease === "forever" ? 0 : parseLease(lease);
  const problem = seconds === undefined ? "a lease is written 30m, 8h, 7d, or forever" : null;
  const extend = async (): Promise<void> => {
    await attemptAll(
      reservations,
      nameOf,
      (portReservation) =>
        controller.cluster.updatePortReservation({
          portReservation,
          updateMask: ["lease"],
          lease: { seconds: BigInt(seconds ?? 0) },
        }),
      "Extended",
    );
    props.onClose();
  };
  const [first] = reservations;
  return (
    <Dialog
      title={reservations.length === 1 ? `Extend ${first?.name}` : `Extend ${reservations.length} reservations`}
      onClose={props.onClose}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (problem === null && props.refusal === null) void extend();
        }}
      >
        <div className="field">
          <label htmlFor="extend-lease">Lease from now on</label>
          <input
            id="extend-lease"
            list="extend-leases"
            value={lease}
            autoComplete="off"
            onChange={(e) => setLease(e.target.value)}
          />
          <datalist id="extend-leases">
            {["1h", "8h", "1d", "7d", "forever"].map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </div>
        <Cli command={reservations.map(({ name }) => extendPorts(name, lease)).join("\n")} />
        {problem === null ? null : <p className="warn">{problem}</p>}
        <div className="row end">
          <Action onClick={props.onClose}>Cancel</Action>
          <Action type="submit" kind="primary" refusal={props.refusal ?? problem}>
            Extend
          </Action>
        </div>
      </form>
    </Dialog>
  );
}
