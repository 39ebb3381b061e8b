/** The life of one connection, and its end by an operator's hand. */
import { type ConnectionRecord, Role } from "@slimfast/proto";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ageMs, isInbound, isLive, STATES, tierOf, verdictOf } from "../../live/filter.js";
import { useResources } from "../../live/resources.js";
import { controller, messageOf } from "../../live/session.js";
import { Action, Cli } from "../../ui/action.js";
import { Time, useNow } from "../../ui/clock.js";
import { cutConnection } from "../../ui/commands.js";
import { Confirm, Dialog } from "../../ui/dialog.js";
import { address, bytes, clock, count, duration, microseconds, ports } from "../../ui/format.js";
import { useRefusal } from "../../ui/identity.js";
import { attempt } from "../../ui/toasts.js";
import { moments, otherEnd, reservationOf, whatCutBreaks } from "./life.js";

/** One that is linked, but not among those that the page knows. */
export function DistantDrawer({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const [found, setFound] = useState<ConnectionRecord | string | null>(null);
  useEffect(() => {
    const filter = `id = ${JSON.stringify(id)}`;
    controller.operations.listConnectionRecords({ filter, includeClosed: true, pageSize: 1 }).then(
      ({ connections }) =>
        setFound(
          connections[0] ??
            "The controller does not know it any more: of those that have ended it keeps the last 10,000.",
        ),
      (error: unknown) => setFound(messageOf(error)),
    );
  }, [id]);
  if (found !== null && typeof found === "object")
    return <Drawer record={found} records={[]} onOpen={() => undefined} onClose={onClose} />;
  return (
    <Dialog title={`Connection ${id}`} kind="drawer" onClose={onClose}>
      <p className="empty">{found ?? "Loading …"}</p>
    </Dialog>
  );
}

export function Drawer(props: {
  readonly record: ConnectionRecord;
  readonly records: readonly ConnectionRecord[];
  readonly onOpen: (id: string) => void;
  readonly onClose: () => void;
}) {
  const { record } = props;
  const { nodes, endpoints, reservations } = useResources();
  const c = record.connection;
  const refusal = useRefusal(Role.ROLE_OPERATOR, c?.network);
  const now = useNow();
  const [isCutting, setCutting] = useState(false);
  if (!c) return null;
  const live = isLive(record);
  const isDenied = verdictOf(record) === "denied";
  const reservation = reservationOf(record, nodes, reservations);
  const other = otherEnd(record, props.records);
  const peerName = c.peerEndpoint || address(c.peer);
  const command = cutConnection(record.id);
  return (
    <Dialog
      title={isInbound(record) ? `${peerName} → ${c.endpoint}` : `${c.endpoint} → ${peerName}`}
      kind="drawer"
      onClose={props.onClose}
    >
      <p className="row">
        <span className={`badge ${live ? "ok" : record.error !== "" ? "bad" : "dim"}`}>{STATES[record.kind]}</span>
        {isDenied ? <span className="badge bad">denied</span> : null}
        {record.error === "" ? null : <span className="badge bad">{record.error}</span>}
        <span className="dim mono">{record.id}</span>
      </p>
      <div className="meters">
        <Meter title="Sent" value={bytes(c.bytesSent)} exact={`${count(c.bytesSent)} B`} />
        <Meter title="Received" value={bytes(c.bytesReceived)} exact={`${count(c.bytesReceived)} B`} />
        <Meter title="RTT" value={microseconds(c.rttUs)} exact={`${c.rttUs} µs`} />
        <Meter
          title="Handshake"
          value={microseconds(c.setupUs)}
          exact={isInbound(record) ? "known at the other end" : `${c.setupUs} µs`}
        />
        <Meter title={live ? "Age" : "Lived"} value={duration(ageMs(record, now))} exact={clock(record.openTime)} />
      </div>
      <h3>Life</h3>
      <ol className="moments">
        {moments(record, nodes).map(({ at, text }) => (
          <li key={text}>
            <span>{text}</span>
            <small className="dim">
              <Time at={at} isExact />
            </small>
          </li>
        ))}
      </ol>
      <h3>Addresses</h3>
      <table className="levels">
        <thead>
          <tr>
            <th>Level</th>
            <th>
              {c.endpoint} on {c.node}
            </th>
            <th>{peerName}</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">Overlay</th>
            <td className="mono">{address(c.local)}</td>
            <td className="mono">{address(c.peer)}</td>
          </tr>
          <tr>
            <th scope="row">Underlay</th>
            <td className="mono">{address(c.underlayLocal)}</td>
            <td className="mono">{address(c.underlayPeer)}</td>
          </tr>
        </tbody>
      </table>
      <dl className="facts">
        <div>
          <dt>Policy</dt>
          <dd>
            <span className={isDenied ? "bad" : "ok"}>{isDenied ? "denied" : "allowed"}</span> by{" "}
            {c.policy === "" ? (
              <Link to="/networks" search={{ q: c.network } as never}>
                the default of {c.network}
              </Link>
            ) : (
              <Link to="/policies" search={{ q: c.policy } as never}>
                {c.policy}
              </Link>
            )}
          </dd>
        </div>
        <div>
          <dt>Reservation</dt>
          <dd>
            {reservation ? (
              <Link to="/ports" search={{ node: reservation.node, q: ports(reservation.ports) } as never}>
                {ports(reservation.ports)} of {reservation.node}, for {reservation.owner}
              </Link>
            ) : (
              "by no reserved port"
            )}
          </dd>
        </div>
        <div>
          <dt>Tier</dt>
          <dd>{tierOf(record)}</dd>
        </div>
        <div>
          <dt>TCP state</dt>
          <dd>{c.state || "–"}</dd>
        </div>
        <div>
          <dt>Other end</dt>
          <dd>
            {other ? (
              <button type="button" className="link" onClick={() => props.onOpen(other.id)}>
                as {other.connection?.node} sees it
              </button>
            ) : (
              "not among those that are shown"
            )}
          </dd>
        </div>
      </dl>
      <Cli command={command} title="Cut it by command line" />
      <div className="row end">
        <Action kind="danger" refusal={refusal ?? (live ? null : "it has ended")} onClick={() => setCutting(true)}>
          Cut
        </Action>
      </div>
      {isCutting ? (
        <Confirm
          title="Cut this connection?"
          breaks={whatCutBreaks(record, endpoints)}
          verb="Cut it"
          cli={command}
          onConfirm={() =>
            attempt(() => controller.operations.cutConnection({ id: record.id }), "The connection is cut.")
          }
          onClose={() => setCutting(false)}
        />
      ) : null}
    </Dialog>
  );
}

function Meter({ title, value, exact }: { readonly title: string; readonly value: string; readonly exact: string }) {
  return (
    <div className="meter" title={exact}>
      <span className="dim">{title}</span>
      <strong>{value}</strong>
    </div>
  );
}
