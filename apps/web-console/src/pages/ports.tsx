/** Port reservations: every reserved host port of the cluster; create, change, extend, release, one or many. */
import { SlimFastError } from "@slimfast/client/web";
import { type Node, PortPurpose, type PortReservation, Role } from "@slimfast/proto";
import { useState } from "react";
import { useResources } from "../live/resources.js";
import { controller, messageOf } from "../live/session.js";
import { parseLease, parsePorts, ports, shellWord } from "../ui/format.js";
import { useRefusal } from "../ui/identity.js";
import { Action, attempt, Cli, Confirm, Dialog, say, Table, Time, useUrlState } from "../ui/parts.js";

const PURPOSES: readonly string[] = ["", "front", "published", "static"];
const MAX_PORT = 65_535;

export function PortsPage() {
  const { reservations, nodes, isComplete } = useResources();
  const [node, setNode] = useUrlState("node");
  const [purpose, setPurpose] = useUrlState("purpose");
  const [text, setText] = useUrlState("q");
  const [form, setForm] = useUrlState("form");
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [isReleasing, setReleasing] = useState(false);
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const shown = reservations.filter(
    (each) =>
      (node === "" || each.node === node) &&
      (purpose === "" || PURPOSES[each.purpose] === purpose) &&
      (text === "" || `${each.name} ${each.owner} ${each.description} ${ports(each.ports)}`.includes(text)),
  );
  const chosen = reservations.filter((each) => each.name !== "" && picked.has(each.name));
  const changed = reservations.find((each) => each.name !== "" && `edit:${each.name}` === form);
  const release = async (): Promise<void> => {
    for (const { name, etag } of chosen) {
      await attempt(() => controller.cluster.deletePortReservation({ name, etag }), `Released ${name}.`);
    }
    setPicked(new Set());
  };
  const extend = async (): Promise<void> => {
    for (const portReservation of chosen) {
      await attempt(
        () =>
          controller.cluster.updatePortReservation({
            portReservation,
            updateMask: ["lease"],
            lease: { seconds: 3_600n },
          }),
        `${portReservation.name} now ends in an hour.`,
      );
    }
  };
  const pick = (name: string): void => {
    const next = new Set(picked);
    if (!next.delete(name)) next.add(name);
    setPicked(next);
  };
  return (
    <>
      <div className="row">
        <h1 className="grow">Port reservations</h1>
        <Action kind="primary" refusal={refusal} onClick={() => setForm("new")}>
          Reserve ports
        </Action>
      </div>
      <section className="panel" aria-label="Ports of each node">
        {nodes.map((each) => (
          <Strip key={each.name} node={each} reservations={reservations.filter((one) => one.node === each.name)} />
        ))}
        <p className="row dim">
          {PURPOSES.slice(1).map((each) => (
            <span key={each}>
              <span className={`swatch ${each}`} /> {each}
            </span>
          ))}
        </p>
      </section>
      <section className="panel">
        <div className="row">
          <input
            data-filter
            aria-label="Filter"
            placeholder="name, owner or port ( / )"
            value={text}
            onChange={(e) => setText(e.target.value)}
          />
          <Choice label="Node" value={node} options={nodes.map(({ name }) => name)} onChange={setNode} />
          <Choice label="Purpose" value={purpose} options={PURPOSES.slice(1)} onChange={setPurpose} />
          <span className="grow" />
          <Action
            refusal={refusal ?? (chosen.length === 0 ? "choose static reservations first" : null)}
            onClick={() => void extend()}
          >
            Extend by 1 h
          </Action>
          <Action
            kind="danger"
            refusal={refusal ?? (chosen.length === 0 ? "choose static reservations first" : null)}
            onClick={() => setReleasing(true)}
          >
            Release {chosen.length > 0 ? chosen.length : ""}
          </Action>
        </div>
        <Table
          label="Reservations"
          items={shown}
          keyOf={(each) => `${each.node}/${each.ports?.first}`}
          empty={
            isComplete
              ? "Nothing is reserved that fits this filter. Reserve ports above, or clear the filter."
              : "Loading …"
          }
          columns={[
            {
              title: "Choose",
              cell: ({ name }) =>
                name === "" ? null : (
                  <input
                    type="checkbox"
                    aria-label={`Choose ${name}`}
                    checked={picked.has(name)}
                    onChange={() => pick(name)}
                  />
                ),
            },
            { title: "Node", cell: (each) => each.node, sortBy: (each) => each.node },
            {
              title: "Ports",
              cell: (each) => ports(each.ports),
              sortBy: (each) => each.ports?.first ?? 0,
              isNumber: true,
            },
            { title: "Purpose", cell: (each) => PURPOSES[each.purpose], sortBy: (each) => each.purpose },
            { title: "Owner", cell: (each) => each.owner, sortBy: (each) => each.owner },
            {
              title: "Ends",
              cell: (each) => (each.expireTime ? <Time at={each.expireTime} /> : <span className="dim">never</span>),
              sortBy: (each) => each.expireTime?.getTime() ?? Number.MAX_VALUE,
            },
            { title: "For", cell: (each) => each.description },
            {
              title: "",
              cell: (each) =>
                each.purpose === PortPurpose.PORT_PURPOSE_STATIC ? (
                  <Action refusal={refusal} onClick={() => setForm(`edit:${each.name}`)}>
                    Change
                  </Action>
                ) : null,
            },
          ]}
        />
      </section>
      {form === "new" ? <ReservationForm nodes={nodes} refusal={refusal} onClose={() => setForm("")} /> : null}
      {changed ? <ReservationForm nodes={nodes} old={changed} refusal={refusal} onClose={() => setForm("")} /> : null}
      {isReleasing ? (
        <Confirm
          title={`Release ${chosen.length === 1 ? chosen[0]?.name : `${chosen.length} reservations`}?`}
          breaks={`Anybody may take these ports then: ${chosen.map((each) => `${each.node} ${ports(each.ports)}`).join(", ")}.`}
          verb="Release"
          cli={chosen.map(({ name }) => `slimfast port release ${name}`).join("\n")}
          onConfirm={() => void release()}
          onClose={() => setReleasing(false)}
        />
      ) : null}
    </>
  );
}

export function Choice(props: {
  readonly label: string;
  readonly value: string;
  readonly options: readonly string[];
  readonly onChange: (value: string) => void;
}) {
  return (
    <select aria-label={props.label} value={props.value} onChange={(event) => props.onChange(event.target.value)}>
      <option value="">{props.label}: all</option>
      {props.options.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}

/** Ports 1 to 65535 from left to right; what is taken is at least 3 wide, so that a single port can be seen. */
function Strip({ node, reservations }: { readonly node: Node; readonly reservations: readonly PortReservation[] }) {
  const taken = reservations.reduce((sum, { ports: range }) => sum + (range?.count ?? 0), 0);
  return (
    <div className="row">
      <span className="mono">{node.name}</span>
      <div className="grow">
        <svg
          className="strip"
          viewBox="0 0 1000 38"
          preserveAspectRatio="none"
          role="img"
          aria-label={`${node.name}: ${taken} ports taken in ${reservations.length} blocks`}
        >
          <rect className="strip-bg" x="0" y="4" width="1000" height="30" />
          {reservations.map(({ ports: range, purpose, owner }) =>
            range ? (
              <rect
                key={range.first}
                className={PURPOSES[purpose] ?? ""}
                x={(range.first / MAX_PORT) * 1000}
                y="6"
                width={Math.max(3, (range.count / MAX_PORT) * 1000)}
                height="26"
              >
                <title>{`${ports(range)} ${owner}`}</title>
              </rect>
            ) : null,
          )}
        </svg>
      </div>
      <span className="num dim">{taken} taken</span>
    </div>
  );
}

/** What PORTS_TAKEN says: by whom, and what is free instead. Exported for its test. */
export function conflictOf(error: unknown): { readonly owner: string; readonly free: number | null } | null {
  if (!(error instanceof SlimFastError) || error.code !== "already_exists") return null;
  const { info, resources } = error.details;
  const free = Number(info.metadata.free_first ?? 0);
  return { owner: resources[0]?.owner ?? "", free: free > 0 ? free : null };
}

function ReservationForm(props: {
  readonly nodes: readonly Node[];
  readonly old?: PortReservation;
  readonly refusal: string | null;
  readonly onClose: () => void;
}) {
  const { old } = props;
  const [name, setName] = useState(old?.name ?? "");
  const [node, setNode] = useState(old?.node ?? props.nodes[0]?.name ?? "");
  const [text, setText] = useState(old?.ports ? `${old.ports.first}-${old.ports.first + old.ports.count - 1}` : "");
  const [lease, setLease] = useState("");
  const [description, setDescription] = useState(old?.description ?? "");
  const [failure, setFailure] = useState<unknown>(null);
  const range = parsePorts(text);
  const seconds = parseLease(lease);
  const conflict = conflictOf(failure);
  const problem =
    range === undefined
      ? "ports: 8080, 8080-8099 or 8080+20"
      : lease !== "" && seconds === undefined
        ? "lease: 30m, 8h or 7d"
        : null;
  const reserve = [
    `slimfast port reserve ${shellWord(name || "NAME")} --node ${shellWord(node)}`,
    `--ports ${range ? ports(range).replace("–", "-") : "FIRST-LAST"}`,
    ...(lease === "" ? [] : [`--lease ${lease.replaceAll(" ", "")}`]),
    ...(description === "" ? [] : [`--description ${shellWord(description)}`]),
  ].join(" ");
  const isOnlyExtended = range?.first === old?.ports?.first && range?.count === old?.ports?.count && lease !== "";
  const cli = !old
    ? reserve
    : isOnlyExtended
      ? `slimfast port extend ${old.name} --lease ${lease}`
      : `slimfast port release ${old.name} && ${reserve}`;
  const submit = async (): Promise<void> => {
    const wanted = { name, node, ports: range, description, etag: old?.etag ?? "" };
    const leased = seconds === undefined ? {} : { lease: { seconds: BigInt(seconds) } };
    try {
      if (old) {
        const updateMask = ["ports", "description", ...(seconds === undefined ? [] : ["lease"])];
        await controller.cluster.updatePortReservation({ portReservation: wanted, updateMask, ...leased });
      } else await controller.cluster.createPortReservation({ portReservation: wanted, ...leased });
      say(old ? `${name} is changed.` : `Reserved ${ports(range)} on ${node}.`);
      props.onClose();
    } catch (error) {
      setFailure(error);
    }
  };
  return (
    <Dialog title={old ? `Change ${old.name}` : "Reserve ports"} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (problem === null && props.refusal === null) void submit();
        }}
      >
        <label className="field">
          <span>Name</span>
          <input value={name} required disabled={old !== undefined} onChange={(e) => setName(e.target.value)} />
        </label>
        <label className="field">
          <span>Node</span>
          <select value={node} disabled={old !== undefined} onChange={(e) => setNode(e.target.value)}>
            {props.nodes.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Ports (8080, 8080-8099 or 8080+20)</span>
          <input value={text} required onChange={(e) => setText(e.target.value)} />
        </label>
        <label className="field">
          <span>Lease from now (30m, 8h, 7d; empty: {old ? "as it is" : "for ever"})</span>
          <input value={lease} onChange={(e) => setLease(e.target.value)} />
        </label>
        <label className="field">
          <span>What for</span>
          <input value={description} maxLength={500} onChange={(e) => setDescription(e.target.value)} />
        </label>
        {failure === null ? null : (
          <div className="alert" role="alert">
            {messageOf(failure)}
            {conflict && conflict.owner !== "" ? <p>Taken by {conflict.owner}.</p> : null}
            {conflict?.free && range ? (
              <Action onClick={() => setText(`${conflict.free}+${range.count}`)}>
                Use {conflict.free} instead, which is free
              </Action>
            ) : null}
          </div>
        )}
        <Cli command={cli} />
        {problem !== null && text !== "" ? <p className="warn">{problem}</p> : null}
        <button
          type="submit"
          className="primary"
          disabled={problem !== null || props.refusal !== null}
          title={props.refusal ?? problem ?? undefined}
        >
          {old ? "Change" : "Reserve"}
        </button>
      </form>
    </Dialog>
  );
}
