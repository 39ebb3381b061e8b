/** Results, targets and comparisons as text. */
import { formatTable } from "../../output.js";
import type { Comparison } from "./compare.js";
import { formatFigure, METRIC_KEYS, METRICS, type MetricKey } from "./metrics.js";
import { NETWORKS, type NetworkName } from "./networks/network.js";
import type { CaseResult, Ratio, SuiteTarget } from "./result.js";

export const NETWORK_LABELS: Readonly<Record<NetworkName, string>> = {
  host: "host network",
  vxlan: "VXLAN overlay",
  slim: "Slim",
  "slimfast-notify": "SlimFast notify",
  "slimfast-preload": "SlimFast preload",
};

/** Columns of a case: its primary figure first. */
export function metricsOf(result: CaseResult): MetricKey[] {
  const present = METRIC_KEYS.filter((key) => NETWORKS.some((name) => result.networks[name]?.[key] !== undefined));
  return [result.primary, ...present.filter((key) => key !== result.primary)];
}

export function metricTitle(key: MetricKey): string {
  return `${METRICS[key].label}, ${METRICS[key].unit}`;
}

export function caseTable(result: CaseResult): string {
  const metrics = metricsOf(result).filter((key) => !key.startsWith("cpuClient") && !key.startsWith("cpuServer"));
  const header = ["", ...metrics.map((key) => metricTitle(key).toUpperCase()), "SPREAD", "TO HOST"];
  // Scenarios that grow are not measured on Slim, and say how much more they take than their smallest size.
  header.push(...(result.size === undefined ? ["TO SLIM"] : ["TO SMALLEST", "BEYOND HOST'S"]));
  const rows = NETWORKS.filter((name) => result.networks[name]).map((name) => {
    const figures = result.networks[name] ?? {};
    const primary = figures[result.primary];
    const spread = primary && primary.median > 0 ? `${((100 * primary.mad) / primary.median).toFixed(1)} %` : "";
    const ratios = result.ratios[name];
    const growth = result.growth?.[name];
    return [
      NETWORK_LABELS[name],
      ...metrics.map((key) => (figures[key] === undefined ? "" : formatFigure(figures[key].median))),
      spread,
      formatRatio(ratios?.toHost ?? null),
      ...(result.size === undefined
        ? [formatRatio(ratios?.toSlim ?? null)]
        : [formatRatio(growth?.toSmallest ?? null), formatRatio(growth?.beyondHost ?? null)]),
    ];
  });
  return `${result.scenario}.${result.case}: ${result.title}\n${formatTable(header, rows)}`;
}

export function formatRatio(ratio: Ratio | null): string {
  return ratio === null ? "" : `${ratio.value.toFixed(2)} x`;
}

export function suiteTargetTable(targets: readonly SuiteTarget[]): string {
  const rows = targets.map(({ name, figure, relation, limit, unit, outcome }) => [
    name,
    figure === null ? "" : `${figure.toFixed(2)} ${unit}`,
    `${relation} ${limit} ${unit}`,
    outcome,
  ]);
  return formatTable(["TARGET", "MEASURED", "LIMIT", ""], rows);
}

export function comparisonTable({ changes, onlyNew, onlyOld, hasEnoughRounds }: Comparison): string {
  const rows = changes.map((change) => [
    `${change.scenario}.${change.case}`,
    NETWORK_LABELS[change.network],
    `${METRICS[change.metric].label}${change.relativeToHost ? ", relative to host" : ""}`,
    `${signed(change.ratio)} (${signed(change.low)} to ${signed(change.high)})`,
    change.probability < 0.001 ? "< 0.001" : change.probability.toFixed(3),
    change.verdict,
  ]);
  const lines = [formatTable(["CASE", "NETWORK", "FIGURE", "CHANGE (95 %)", "P", ""], rows)];
  if (!hasEnoughRounds) lines.push("Too few rounds to tell a change from noise: use --rounds 4 or more for both.");
  if (onlyOld.length > 0) lines.push(`Only in the old result: ${onlyOld.join(", ")}`);
  if (onlyNew.length > 0) lines.push(`Only in the new result: ${onlyNew.join(", ")}`);
  return lines.join("\n");
}

function signed(ratio: number): string {
  const percent = 100 * (ratio - 1);
  return `${percent >= 0 ? "+" : ""}${percent.toFixed(1)} %`;
}
