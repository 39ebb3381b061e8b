/** Reserving ports, on one node or several, and changing what is reserved. */
import { type Node, type PortReservation, Role } from "@slimfast/proto";
import { useState } from "react";
import { controller, messageOf } from "../../live/session.js";
import { Action, Cli } from "../../ui/action.js";
import { extendPorts, rangeText, releasePorts, reservePorts } from "../../ui/commands.js";
import { Dialog } from "../../ui/dialog.js";
import { parseLease, parsePorts, ports } from "../../ui/format.js";
import { useRefusal } from "../../ui/identity.js";
import { say } from "../../ui/toasts.js";
import { conflictOf, holdersOf, nearestFree } from "./conflicts.js";
import { Strip } from "./strip.js";

interface Wanted {
  readonly name: string;
  readonly node: string;
  readonly ports: { readonly first: number; readonly count: number };
  readonly description: string;
}

async function send(wanted: Wanted, leaseSeconds: number | undefined, old: PortReservation | undefined): Promise<void> {
  const portReservation = { ...wanted, etag: old?.etag ?? "" };
  const lease = leaseSeconds === undefined ? {} : { lease: { seconds: BigInt(leaseSeconds) } };
  if (old) {
    const updateMask = ["ports", "description", ...(leaseSeconds === undefined ? [] : ["lease"])];
    await controller.cluster.updatePortReservation({ portReservation, updateMask, ...lease });
  } else {
    await controller.cluster.createPortReservation({ portReservation, ...lease });
  }
}

/** Names of the reservations, one for each node: names are unique in the cluster. */
function nameOn(name: string, node: string, nodes: readonly string[]): string {
  return nodes.length > 1 ? `${name}-${node}` : name;
}

function commandsFor(
  wanted: readonly Wanted[],
  hasPorts: boolean,
  lease: string,
  old: PortReservation | undefined,
): string {
  const ports = (each: Wanted) => (hasPorts ? each.ports : undefined);
  const [first] = wanted;
  if (old && first) {
    const isSame =
      old.ports && rangeText(old.ports) === rangeText(first.ports) && old.description === first.description;
    if (isSame && lease !== "") return extendPorts(old.name, lease);
    return `${releasePorts(old.name)} && ${reservePorts({ ...first, ports: ports(first), lease })}`;
  }
  return wanted.map((each) => reservePorts({ ...each, ports: ports(each), lease })).join("\n");
}

export function ReservationForm(props: {
  readonly nodes: readonly Node[];
  readonly reservations: readonly PortReservation[];
  readonly old?: PortReservation;
  readonly onClose: () => void;
}) {
  const { old, nodes, reservations } = props;
  const refusal = useRefusal(Role.ROLE_OPERATOR);
  const [name, setName] = useState(old?.name ?? "");
  // Nodes may be known only after the form was opened by a link.
  const [picked, setChosen] = useState<readonly string[] | null>(old ? [old.node] : null);
  const chosen = picked ?? nodes.slice(0, 1).map((node) => node.name);
  const [text, setText] = useState(old?.ports ? rangeText(old.ports) : "");
  const [lease, setLease] = useState("");
  const [description, setDescription] = useState(old?.description ?? "");
  const [failure, setFailure] = useState<unknown>(null);
  const range = parsePorts(text);
  const seconds = parseLease(lease);
  const wanted = chosen.map((node) => ({
    name: nameOn(name, node, chosen),
    node,
    ports: range ?? { first: 0, count: 1 },
    description,
  }));
  const holders =
    range && range.first > 0 ? chosen.flatMap((node) => holdersOf(reservations, node, range, old?.name)) : [];
  const refused = failure === null ? null : conflictOf(failure);
  const free =
    refused?.free ?? (range && holders[0] ? nearestFree(reservations, holders[0].node, range, old?.name) : null);
  const problem = !range
    ? "ports are written 8080, 8080-8099, 8080+20, or +20 for any free block of 20"
    : lease !== "" && seconds === undefined
      ? "a lease is written 30m, 8h or 7d"
      : chosen.length === 0
        ? "choose a node"
        : null;
  const toggle = (node: string): void =>
    setChosen(chosen.includes(node) ? chosen.filter((each) => each !== node) : [...chosen, node]);
  const submit = async (): Promise<void> => {
    const done: string[] = [];
    try {
      for (const each of wanted) {
        await send(each, seconds, old);
        done.push(each.node);
      }
      say(old ? `${name} is changed.` : `Reserved ${text} on ${done.join(", ")}.`);
      props.onClose();
    } catch (error) {
      if (done.length > 0) say(`Reserved on ${done.join(", ")} only.`, true);
      setChosen(chosen.filter((node) => !done.includes(node)));
      setFailure(error);
    }
  };
  return (
    <Dialog title={old ? `Change ${old.name}` : "Reserve ports"} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (problem === null && refusal === null) void submit();
        }}
      >
        <div className="field">
          <label htmlFor="reserve-name">Name</label>
          <input
            id="reserve-name"
            value={name}
            required
            disabled={old !== undefined}
            autoComplete="off"
            onChange={(e) => setName(e.target.value)}
          />
        </div>
        <fieldset className="field" disabled={old !== undefined}>
          <legend>Nodes</legend>
          <div className="row">
            {nodes.map((each) => (
              <label key={each.name} className="check">
                <input type="checkbox" checked={chosen.includes(each.name)} onChange={() => toggle(each.name)} />
                {each.name}
              </label>
            ))}
          </div>
        </fieldset>
        <div className="field">
          <label htmlFor="reserve-ports">Ports</label>
          <input
            id="reserve-ports"
            value={text}
            required
            autoComplete="off"
            aria-describedby="reserve-ports-hint"
            onChange={(e) => {
              setText(e.target.value);
              setFailure(null);
            }}
          />
          <small id="reserve-ports-hint" className="dim">
            8080, 8080-8099, 8080+20, or +20 for any free block of 20
          </small>
        </div>
        {nodes
          .filter((node) => chosen.includes(node.name))
          .map((node) => (
            <Strip
              key={node.name}
              node={node}
              reservations={reservations.filter((each) => each.node === node.name)}
              wanted={range}
            />
          ))}
        <Conflict
          failure={failure}
          owners={
            refused
              ? [refused.owner]
              : holders.map(({ node, owner, ports: held }) => `${owner} (${node} ${ports(held)})`)
          }
          free={free}
          onUse={() => {
            if (free === null || !range) return;
            setText(range.count === 1 ? `${free}` : `${free}-${free + range.count - 1}`);
            setFailure(null);
          }}
        />
        <div className="field">
          <label htmlFor="reserve-lease">Lease</label>
          <input
            id="reserve-lease"
            value={lease}
            autoComplete="off"
            aria-describedby="reserve-lease-hint"
            onChange={(e) => setLease(e.target.value)}
          />
          <small id="reserve-lease-hint" className="dim">
            from now on: 30m, 8h, 7d; empty: {old ? "as it is" : "no end"}
          </small>
        </div>
        <div className="field">
          <label htmlFor="reserve-for">What for</label>
          <input
            id="reserve-for"
            value={description}
            maxLength={500}
            onChange={(e) => setDescription(e.target.value)}
          />
        </div>
        <Cli command={commandsFor(wanted, range !== undefined, lease, old)} />
        {problem !== null && text !== "" ? <p className="warn">{problem}</p> : null}
        <div className="row end">
          <Action onClick={props.onClose}>Cancel</Action>
          <Action type="submit" kind="primary" refusal={refusal ?? problem}>
            {old ? "Change" : "Reserve"}
          </Action>
        </div>
      </form>
    </Dialog>
  );
}

function Conflict(props: {
  readonly failure: unknown;
  readonly owners: readonly string[];
  readonly free: number | null;
  readonly onUse: () => void;
}) {
  const { failure, owners, free } = props;
  if (failure === null && owners.length === 0) return null;
  return (
    <div className="alert" role="alert">
      {failure === null ? null : <p>{messageOf(failure)}</p>}
      {owners.map((owner) => (
        <p key={owner}>
          Taken by <strong>{owner}</strong>.
        </p>
      ))}
      {free === null ? null : <Action onClick={props.onUse}>Use {free} instead, which is free</Action>}
    </div>
  );
}
