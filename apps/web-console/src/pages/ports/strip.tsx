/** A node's host ports from 1 to 65535 at a glance. What is taken is drawn at least 4 wide, so that one port can be seen. */
import type { Node, PortRange, PortReservation } from "@slimfast/proto";
import { count, ports } from "../../ui/format.js";
import { MAX_PORT, purposeOf } from "./conflicts.js";

const WIDTH = 1_000;
/** As far from each other as they are written: evenly. */
const TICKS = [1, 16_384, 32_768, 49_152, MAX_PORT];
const LEAST = 4;

const place = (port: number): number => (port / MAX_PORT) * WIDTH;

function Block({
  range,
  className,
  title,
}: {
  readonly range: PortRange;
  readonly className: string;
  readonly title: string;
}) {
  return (
    <rect className={className} x={place(range.first)} y="0" width={Math.max(LEAST, place(range.count))} height="22">
      <title>{title}</title>
    </rect>
  );
}

export function Strip(props: {
  readonly node: Node;
  readonly reservations: readonly PortReservation[];
  /** Ports that somebody thinks of taking. */
  readonly wanted?: PortRange | undefined;
}) {
  const { node, reservations, wanted } = props;
  const taken = reservations.reduce((sum, { ports: range }) => sum + (range?.count ?? 0), 0);
  return (
    <div className="strip-row">
      <span className="strip-name" title={node.underlayAddress}>
        {node.name}
      </span>
      <div className="strip-scale">
        <svg
          className="strip"
          viewBox={`0 0 ${WIDTH} 22`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${node.name}: ${taken} of ${MAX_PORT} ports are taken, in ${reservations.length} blocks`}
        >
          <rect className="strip-bg" width={WIDTH} height="22" />
          {reservations.map((each) =>
            each.ports ? (
              <Block
                key={each.ports.first}
                range={each.ports}
                className={purposeOf(each)}
                title={`${ports(each.ports)}: ${each.owner}`}
              />
            ) : null,
          )}
          {wanted && wanted.first > 0 ? (
            <Block range={wanted} className="wanted" title={`${ports(wanted)}: wanted`} />
          ) : null}
        </svg>
        <div className="strip-ticks" aria-hidden="true">
          {TICKS.map((port) => (
            <span key={port}>{port}</span>
          ))}
        </div>
      </div>
      <span className="strip-count">{count(taken)} taken</span>
    </div>
  );
}
