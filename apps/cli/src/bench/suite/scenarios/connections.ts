/** Scenarios on slimfast-bench's own server: setup, connect+request+response, request/response, bulk. */
import { rustProduct } from "../../../paths.js";
import type { Network } from "../networks/network.js";
import { type OwnTimes, ownLoad, startListening, timesOf } from "./own-load.js";
import type { Case, Effort, Measurement, OpenScenario, Scenario } from "./scenario.js";

const PORT = 9_200;
const PINNED = ["--cpu", "0"];

interface ConnectReport extends OwnTimes {
  readonly perSecond: number;
  readonly count: number;
  readonly full: OwnTimes;
}

interface RrReport extends OwnTimes {
  readonly perSecond: number;
  readonly count: number;
}

interface BulkReport {
  readonly gbitPerSecond: number;
  readonly bytes: number;
}

/** A case with the arguments of its client. */
export interface OwnCase extends Case {
  /** One CPU for client and server: a scheduler that chooses otherwise now and then changes a latency threefold. */
  readonly isPinned: boolean;
  args(effort: Effort): readonly string[];
  read(report: unknown): Measurement;
}

/** Clients at once that keep more than two cores busy. */
const MANY = 16;

export const setupCase = (clients: number): OwnCase => ({
  name: clients === 1 ? "1-client" : `${clients}-clients`,
  title: `socket() and connect(), ${clients} at once`,
  primary: "p50Us",
  isPinned: clients === 1,
  args: ({ operations }) => ["connect", "--count", String(operations * Math.min(clients, 4)), ...concurrency(clients)],
  read: (report) => {
    const times = report as ConnectReport;
    return { values: timesOf(times), work: { operations: times.count } };
  },
});

/** connect() that returns at once, and poll(). */
const nonBlockingCase = (clients: number): OwnCase => {
  const blocking = setupCase(clients);
  return {
    ...blocking,
    name: clients === 1 ? "non-blocking" : `non-blocking-${clients}-clients`,
    title: `socket(), connect() with O_NONBLOCK and poll(), ${clients} at once`,
    args: (effort) => [...blocking.args(effort), "--nonblocking"],
  };
};

const crrCase = (clients: number): OwnCase => ({
  ...setupCase(clients),
  title: `connect, 1 B request, 1 B response, close: ${clients} at once`,
  primary: "perSecond",
  read: (report) => {
    const { full, perSecond, count } = report as ConnectReport;
    return { values: { perSecond, ...timesOf(full) }, work: { operations: count } };
  },
});

const rrCase = (sizeBytes: number): OwnCase => ({
  name: `${sizeBytes}-bytes`,
  title: `request and response of ${sizeBytes} B on one connection`,
  primary: "p50Us",
  isPinned: true,
  args: ({ operations }) => ["rr", "--count", String(operations * 4), "--size", String(sizeBytes)],
  read: (report) => {
    const times = report as RrReport;
    return { values: { perSecond: times.perSecond, ...timesOf(times) }, work: { operations: times.count } };
  },
});

const bulkCase = (flows: number): OwnCase => ({
  name: flows === 1 ? "1-flow" : `${flows}-flows`,
  title: `bulk transfer, ${flows === 1 ? "one connection" : `${flows} connections`}`,
  primary: "gbitPerSecond",
  isPinned: false,
  args: ({ seconds }) => ["bulk", "--seconds", String(seconds), "--flows", String(flows)],
  read: (report) => {
    const { gbitPerSecond, bytes } = report as BulkReport;
    return { values: { gbitPerSecond }, work: { bytes } };
  },
});

/** The server's one thread accepts and closes; clients wait for that, so the rate is the listener's. */
const acceptCase: OwnCase = {
  ...crrCase(MANY),
  title: `accept() and close() by one thread, ${MANY} clients`,
  args: ({ operations }) => ["connect", "--until-closed", "--count", String(operations * 4), ...concurrency(MANY)],
};

/** Fewer would not stand out from what else the machine does. */
const FEWEST_IDLE = 5_000;

const idleCase: OwnCase = {
  name: "connections",
  title: "kernel memory of a connection that does nothing, both ends",
  primary: "bytesPerConnection",
  isPinned: false,
  args: ({ operations }) => ["idle", "--count", String(Math.max(FEWEST_IDLE, operations * 3))],
  read: (report) => {
    const { bytesPerConnection, count } = report as { bytesPerConnection: number; count: number };
    return { values: { bytesPerConnection }, work: { operations: count } };
  },
};

export const CONNECT = ownScenario("connect", "time of connection setup", [
  setupCase(1),
  setupCase(MANY),
  nonBlockingCase(1),
  nonBlockingCase(MANY),
]);
export const ACCEPT = ownScenario("accept", "accept rate of one listener", [acceptCase], ["--accept-only"]);
export const IDLE = ownScenario("idle", "memory of idle connections", [idleCase]);
export const CRR = ownScenario("crr", "connect, request, response, close", [crrCase(1), crrCase(MANY)]);
export const RR = ownScenario("rr", "request and response on one connection", [rrCase(1), rrCase(32), rrCase(1024)]);
export const BULK = ownScenario("bulk", "throughput", [bulkCase(1), bulkCase(8)]);

function concurrency(clients: number): string[] {
  return clients === 1 ? [] : ["--concurrency", String(clients)];
}

export function ownScenario(
  name: string,
  description: string,
  cases: readonly OwnCase[],
  serverOptions: readonly string[] = [],
): Scenario {
  return { name, description, programs: [], cases, open: (network) => open(network, name, cases, serverOptions) };
}

async function open(
  network: Network,
  name: string,
  cases: readonly OwnCase[],
  serverOptions: readonly string[],
): Promise<OpenScenario> {
  const isPinned = cases.some((it) => it.isPinned);
  const serve = (port: number, more: readonly string[]) => [
    ...[rustProduct("slimfast-bench"), "serve", "--port", String(port), ...serverOptions, ...more],
  ];
  const free = await startListening(network, name, PORT, serve(PORT, []));
  const servers = [free];
  if (isPinned) {
    try {
      servers.push(await startListening(network, `${name}-pinned`, PORT + 1, serve(PORT + 1, PINNED)));
    } catch (error) {
      await free.stop();
      throw error;
    }
  }
  return {
    servers,
    measure: async (caseName, effort) => {
      const one = cases.find((it) => it.name === caseName);
      if (!one) throw new RangeError(`no case ${caseName}`);
      const [server, port] = one.isPinned ? [servers[1] ?? free, PORT + 1] : [free, PORT];
      const to = ["--to", `${server.address}:${port}`];
      const [mode = "", ...args] = one.args(effort);
      return one.read(await ownLoad(network, [mode, ...to, ...args, ...(one.isPinned ? PINNED : [])]));
    },
  };
}
