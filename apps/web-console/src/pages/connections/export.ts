/** Connections as files. */
import type { ConnectionRecord } from "@slimfast/proto";
import { STATES, servicePort, tierOf, verdictOf } from "../../live/filter.js";
import type { ExportColumn } from "../../ui/export.js";
import { address } from "../../ui/format.js";

export const CONNECTION_COLUMNS: readonly ExportColumn<ConnectionRecord>[] = [
  { name: "id", text: ({ id }) => id },
  { name: "open_time", text: ({ openTime }) => openTime?.toISOString() ?? "" },
  { name: "close_time", text: ({ closeTime }) => closeTime?.toISOString() ?? "" },
  { name: "state", text: ({ kind }) => STATES[kind] ?? "" },
  { name: "direction", text: ({ connection }) => (connection?.direction === 2 ? "inbound" : "outbound") },
  { name: "node", text: ({ connection }) => connection?.node ?? "" },
  { name: "network", text: ({ connection }) => connection?.network ?? "" },
  { name: "endpoint", text: ({ connection }) => connection?.endpoint ?? "" },
  { name: "peer_endpoint", text: ({ connection }) => connection?.peerEndpoint ?? "" },
  { name: "port", text: (record) => String(servicePort(record)) },
  { name: "local", text: ({ connection }) => address(connection?.local) },
  { name: "peer", text: ({ connection }) => address(connection?.peer) },
  { name: "underlay_local", text: ({ connection }) => address(connection?.underlayLocal) },
  { name: "underlay_peer", text: ({ connection }) => address(connection?.underlayPeer) },
  { name: "tier", text: tierOf },
  { name: "verdict", text: verdictOf },
  { name: "policy", text: ({ connection }) => connection?.policy ?? "" },
  { name: "bytes_sent", text: ({ connection }) => String(connection?.bytesSent ?? 0) },
  { name: "bytes_received", text: ({ connection }) => String(connection?.bytesReceived ?? 0) },
  { name: "rtt_us", text: ({ connection }) => String(connection?.rttUs ?? 0) },
  { name: "setup_us", text: ({ connection }) => String(connection?.setupUs ?? 0) },
  { name: "error", text: ({ error }) => error },
];
