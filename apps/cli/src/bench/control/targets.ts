/** What the control plane aims at, and whether a run met it; and its figures as text. Pure. */
import { formatTable } from "../../output.js";
import type { ControlReport } from "./measure.js";
import type { PropagationReport } from "./propagation.js";

export interface ControlTarget {
  readonly name: string;
  readonly figure: number;
  readonly limit: number;
  readonly unit: "ms" | "MiB";
  readonly met: boolean;
}

export function controlTargets({ steady, join, controller }: ControlReport): ControlTarget[] {
  const target = (name: string, figure: number, limit: number, unit: ControlTarget["unit"]): ControlTarget => ({
    name,
    figure,
    limit,
    unit,
    met: figure <= limit,
  });
  const targets = [
    target("propagation p50", steady.toAgent.p50Ms, 20, "ms"),
    target("propagation p99", steady.toAgent.p99Ms, 150, "ms"),
    target("controller's memory, most", controller.peakMib, 700, "MiB"),
  ];
  if (join) targets.push(target("full state of a node that joins, slowest", join.maxMs, 1_000, "ms"));
  return targets;
}

export function controlTable(report: ControlReport): string {
  const { steady, joining, join, connect, controller, generators, agentProcesses, populateSeconds } = report;
  const line = (name: string, { toAgent, toAnswer }: PropagationReport) => [
    name,
    toAgent.p50Ms,
    toAgent.p90Ms,
    toAgent.p99Ms,
    toAgent.maxMs,
    toAnswer.p50Ms,
    toAnswer.p99Ms,
    toAgent.count,
  ];
  const rows = [line("changes alone", steady)];
  if (joining) rows.push(line("while nodes join", joining));
  const header = ["MS FROM THE CALL", "TO AGENT P50", "P90", "P99", "MAX", "TO ANSWER P50", "P99", "DELIVERIES"];
  const facts: (readonly [string, string])[] = [
    ["cluster created", `${populateSeconds} s`],
    ["all agents at once, until current", `first ${connect.firstMs} ms, last ${connect.allMs} ms`],
  ];
  if (join) {
    const { p50Ms, maxMs, count, resources } = join;
    facts.push([`a node joins (${count})`, `p50 ${p50Ms} ms, slowest ${maxMs} ms, ${resources} resources`]);
  }
  facts.push([
    "controller",
    `${controller.residentMib} MiB (most: ${controller.peakMib} MiB), ${percent(controller.cpuShare)}`,
  ]);
  const inAll = agentProcesses > 1 ? ` (${agentProcesses} processes)` : "";
  for (const [name, use] of Object.entries({ [`agents${inAll}`]: generators.agents, changes: generators.changes })) {
    facts.push([
      `load generator: ${name}`,
      `${use.residentMib} MiB, ${percent(use.cpuShare)}, its event loop late by p99 ${use.loopDelayP99Ms} ms`,
    ]);
  }
  return `${formatTable(header, rows)}\n\n${formatTable(["", ""], facts).trimStart()}`;
}

function percent(cpuShare: number): string {
  return `${Math.round(cpuShare * 100)} % of a CPU`;
}

export function controlTargetTable(targets: readonly ControlTarget[]): string {
  const rows = targets.map(({ name, figure, limit, unit, met }) => [
    name,
    `${figure} ${unit}`,
    `<= ${limit} ${unit}`,
    met ? "met" : "MISSED",
  ]);
  return formatTable(["TARGET", "MEASURED", "LIMIT", ""], rows);
}
