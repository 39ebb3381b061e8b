import { ConnectionEventKind, ConnectionRecord, Direction } from "@slimfast/proto";
import { expect, test } from "vitest";
import { Grouping } from "./groups.js";

const { CONNECTION_EVENT_KIND_OPENED: OPENED, CONNECTION_EVENT_KIND_CLOSED: CLOSED } = ConnectionEventKind;

function record(id: string, kind: ConnectionEventKind, isInbound: boolean, error = ""): ConnectionRecord {
  const [endpoint, peerEndpoint] = isInbound ? ["web", "client"] : ["client", "web"];
  const [local, peer] = isInbound ? [80, 40_000] : [40_000, 80];
  return ConnectionRecord.fromPartial({
    id,
    kind,
    error,
    connection: {
      network: "default",
      endpoint,
      peerEndpoint,
      direction: isInbound ? Direction.DIRECTION_INBOUND : Direction.DIRECTION_OUTBOUND,
      local: { address: "a", port: local },
      peer: { address: "b", port: peer },
      bytesSent: 10n,
    },
  });
}

test("both ends of a connection are of one group: who connects, to whom, at which port", () => {
  const refused = record("3", ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED, false, "ECONNREFUSED");
  const grouping = new Grouping();
  grouping.add([record("1", OPENED, false), record("2", CLOSED, true)]);
  grouping.add([refused]);
  expect(grouping.busiestFirst).toMatchObject([
    { from: "client", to: "web", port: 80, live: 1, ended: 1, refused: 1, bytes: 30 },
  ]);
});
