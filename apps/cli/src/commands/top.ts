/** `slimfast top`: the cluster at a glance. On a terminal it goes on until q or Ctrl-C; otherwise it is one snapshot. */
import type { ControllerClient } from "@slimfast/client";
import { TrafficGrouping, type WatchOverviewResponse, type WatchTrafficResponse } from "@slimfast/proto";
import { CliError, EXIT } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatBytes, formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { TIER } from "../resources/enums.js";

/** So many of the busiest pairs are shown. */
const BUSIEST = 12;
const CLEAR = "\u001b[H\u001b[J";
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";

export async function top(
  options: RemoteOptions & { readonly json?: boolean; readonly once?: boolean },
): Promise<void> {
  const isLive = process.stdout.isTTY === true && !options.once && !options.json;
  await withCluster(options, async (controller) => {
    if (isLive) return live(controller);
    const { overview, traffic } = await snapshot(controller);
    if (options.json) printJson(describe(overview, traffic));
    else printLine(render(overview, traffic));
  });
}

/** The second overview: rates are since the one before. */
async function snapshot(controller: ControllerClient) {
  const ending = new AbortController();
  const { signal } = ending;
  try {
    const [overview, traffic] = await Promise.all([
      nth(controller.operations.watchOverview({}, { signal }), 2),
      nth(controller.operations.watchTraffic(TRAFFIC, { signal }), 1),
    ]);
    return { overview, traffic };
  } finally {
    ending.abort();
  }
}

const TRAFFIC = { grouping: TrafficGrouping.TRAFFIC_GROUPING_ENDPOINT };

async function nth<Answer>(answers: AsyncIterable<Answer>, number: number): Promise<Answer> {
  let count = 0;
  for await (const answer of answers) {
    count += 1;
    if (count === number) return answer;
  }
  throw new CliError("failed", "the controller ended the stream before there was anything to show");
}

async function live(controller: ControllerClient): Promise<void> {
  const interrupts = watchInterrupts();
  const ending = new AbortController();
  const end = () => ending.abort();
  void interrupts.interrupted.then(end);
  const onKey = (key: Buffer) => {
    if (["q", "Q", "\u0003"].includes(key.toString())) end();
  };
  const hasKeys = process.stdin.isTTY === true;
  if (hasKeys) process.stdin.setRawMode(true).on("data", onKey).resume();
  process.stdout.write(ENTER);
  let traffic: WatchTrafficResponse | null = null;
  const { signal } = ending;
  const readTraffic = async () => {
    for await (const answer of controller.operations.watchTraffic(TRAFFIC, { signal })) traffic = answer;
  };
  const readOverview = async () => {
    for await (const overview of controller.operations.watchOverview({}, { signal })) {
      process.stdout.write(`${CLEAR}${fit(render(overview, traffic))}\n`);
    }
  };
  try {
    await Promise.all([readOverview(), readTraffic()]);
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = EXIT.ok;
  } finally {
    end();
    process.stdout.write(LEAVE);
    if (hasKeys) process.stdin.off("data", onKey).setRawMode(false).pause();
    interrupts.close();
  }
}

/** What the terminal has room for. One that does not know its size (a serial line, script(1)) says 0. */
function fit(text: string): string {
  const { rows, columns } = process.stdout;
  return text
    .split("\n")
    .slice(0, (rows || 24) - 1)
    .map((line) => line.slice(0, columns || 80))
    .join("\n");
}

export function render(overview: WatchOverviewResponse, traffic: WatchTrafficResponse | null): string {
  const { nodes, nodesConnected, networks, endpoints, liveConnections, droppedEvents } = overview;
  const rate = (perSecond: number) => `${perSecond.toFixed(1)}/s`;
  const sections = [
    `nodes ${nodesConnected} of ${nodes} connected   networks ${networks}   endpoints ${endpoints}   connections ${liveConnections}`,
    `opened ${rate(overview.openedPerSecond)}   closed ${rate(overview.closedPerSecond)}   refused ${rate(overview.refusedPerSecond)}   denied ${rate(overview.deniedPerSecond)}${droppedEvents > 0n ? `   events lost ${droppedEvents}` : ""}`,
  ];
  for (const { tier, count, p50Us, p90Us, p99Us } of overview.setupTimes) {
    sections.push(`setup ${TIER.name(tier)}: p50 ${p50Us} us   p90 ${p90Us} us   p99 ${p99Us} us   (${count} in 10 s)`);
  }
  sections.push(
    "",
    formatTable(
      ["NODE", "AGENT", "ENDPOINTS", "CONNECTIONS", "OPENED/S", "FRONT PORTS"],
      overview.nodeOverviews.map((node) => [
        node.node,
        node.connected ? "connected" : "GONE",
        node.endpoints,
        node.liveConnections,
        node.openedPerSecond.toFixed(1),
        node.frontPortConnections.join(" ") || "-",
      ]),
    ),
  );
  if (traffic) sections.push("", renderTraffic(traffic));
  return sections.join("\n");
}

function renderTraffic({ edges, omitted }: WatchTrafficResponse): string {
  if (edges.length === 0) return "No traffic.";
  const busiest = [...edges]
    .sort((left, right) => right.bytesPerSecond - left.bytesPerSecond || right.liveConnections - left.liveConnections)
    .slice(0, BUSIEST);
  const table = formatTable(
    ["FROM", "TO", "CONNECTIONS", "OPENED/S", "BYTES/S"],
    busiest.map((edge) => [
      edge.from,
      edge.to,
      edge.liveConnections,
      edge.openedPerSecond.toFixed(1),
      formatBytes(BigInt(Math.round(edge.bytesPerSecond))),
    ]),
  );
  const others = edges.length - busiest.length + omitted;
  return others > 0 ? `${table}\n(and ${others} others)` : table;
}

function describe(overview: WatchOverviewResponse, traffic: WatchTrafficResponse) {
  const setupTimes = overview.setupTimes.map(({ buckets: _merged, ...times }) => ({
    ...times,
    tier: TIER.name(times.tier),
  }));
  return { ok: true, ...overview, setupTimes, traffic };
}
