/** The benchmark's results as text. */
import { formatTable } from "../output.js";
import { CONFIGURATIONS, type ConfigurationName } from "./configurations.js";
import type { HookCosts } from "./hook-costs.js";
import type { SetupReport } from "./setup.js";
import type { TargetResult } from "./targets.js";

const LABELS: Readonly<Record<ConfigurationName, string>> = {
  host: "host network",
  vxlan: "VXLAN overlay",
  notify: "SlimFast notify",
  preload: "SlimFast preload",
};

export function setupTable(report: SetupReport): string {
  const header = ["", "SETUP P50 US", "P99 US", "CONNECTIONS/S", "TO HOST"];
  if (report.requestResponse) header.push("ROUND TRIP P50 US");
  if (report.bulk) header.push("GBIT/S");
  const rows = CONFIGURATIONS.map((name) => {
    const { p50Us, p99Us, perSecond } = report.setup[name];
    const row = [
      LABELS[name],
      p50Us.toFixed(1),
      p99Us.toFixed(1),
      perSecond.toFixed(0),
      `${report.ratios[name].setup.toFixed(2)} x`,
    ];
    if (report.requestResponse) row.push(report.requestResponse[name].p50Us.toFixed(1));
    if (report.bulk) row.push(report.bulk[name].gbitPerSecond.toFixed(1));
    return row;
  });
  return formatTable(header, rows);
}

/** What the BPF programs cost, per connection and program. */
export function hookTable(costs: HookCosts): string {
  const header = ["HOOK", "NODE", "RUNS PER CONNECTION", "NS PER CONNECTION"];
  const rows = costs.perConnection.map(({ side, program, runsPerConnection, netNsPerConnection }) => [
    program,
    side,
    runsPerConnection.toFixed(1),
    netNsPerConnection.toFixed(0),
  ]);
  return formatTable(header, rows);
}

export function targetTable(targets: readonly TargetResult[]): string {
  const format = (value: number, unit: TargetResult["unit"]) =>
    unit === "x" ? `${value.toFixed(3)} x` : `${value} ${unit}`.trimEnd();
  const rows = targets.map(({ name, figure, relation, limit, unit, met }) => [
    name,
    format(figure, unit),
    `${relation} ${format(limit, unit)}`,
    met ? "pass" : "MISS",
  ]);
  return formatTable(["TARGET", "MEASURED", "LIMIT", ""], rows);
}
