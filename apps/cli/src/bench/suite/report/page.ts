/** The report's page: one HTML file that loads nothing. Pure. */
import type { Comparison } from "../compare.js";
import { formatFigure, METRICS } from "../metrics.js";
import { NETWORKS } from "../networks/network.js";
import type { CaseResult, Ratio, SuiteResult, SuiteTarget } from "../result.js";
import { metricsOf, metricTitle, NETWORK_LABELS } from "../suite-table.js";
import { growingScenarios, growthPlot } from "./growth-plot.js";
import { casePlot, escapeText } from "./plot.js";

const STYLE = `
body { font: 14px/1.45 system-ui, sans-serif; color: #1b1e23; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; } th, td { padding: .2rem .7rem; border-bottom: 1px solid #e2e5ea; }
th { text-align: left; font-weight: 600; } td.figure { text-align: right; font-variant-numeric: tabular-nums; }
small { color: #616873; } .missed, .worse { color: #a3281b; } .met, .better { color: #1c6b34; }
svg { max-width: 100%; height: auto; } pre { overflow: auto; }`;

export function reportPage(result: SuiteResult, comparison: Comparison | null): string {
  const { machine, rounds, profile, startedAt, revision } = result;
  const title = `SlimFast benchmarks, ${startedAt.slice(0, 16).replace("T", " ")} UTC`;
  const facts: [string, string][] = [
    ["machine", `${machine.cpus} x ${machine.cpuModel}, ${machine.memoryMib} MiB`],
    ["kernel, Node.js", `${machine.kernel}, ${machine.node}`],
    ["revision", revision ?? "unknown"],
    ["rounds", `${rounds}, profile ${profile}, ${result.elapsedSeconds} s in all`],
    ["load before", result.loadBefore.toFixed(2)],
    ...Object.entries(result.programs),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeText(title)}</title><style>${STYLE}</style></head><body>
<h1>${escapeText(title)}</h1>
<p>Medians over interleaved rounds; &#177; is the median absolute deviation; ratios with bootstrap intervals at 95 %. Every sample: <a href="result.json">result.json</a>.</p>
${table([], facts)}
${targetsSection(result.targets)}${comparison ? comparisonSection(comparison) : ""}${growthSection(result.cases)}${result.cases.map(caseSection).join("\n")}
</body></html>
`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = header.length === 0 ? "" : `<tr>${header.map((text) => `<th>${escapeText(text)}</th>`).join("")}</tr>`;
  const body = rows.map(([first = "", ...rest]) => {
    const cells = rest.map((text) => {
      const isOutcome = ["met", "missed", "better", "worse"].includes(text);
      return `<td class="figure${isOutcome ? ` ${text}` : ""}">${escapeText(text)}</td>`;
    });
    return `<tr><th>${escapeText(first)}</th>${cells.join("")}</tr>`;
  });
  return `<table>${head}${body.join("")}</table>`;
}

function targetsSection(targets: readonly SuiteTarget[]): string {
  if (targets.length === 0) return "";
  const rows = targets.map(({ name, figure, relation, limit, unit, outcome }) => [
    name,
    figure === null ? "" : `${formatFigure(figure)} ${unit}`,
    `${relation} ${limit} ${unit}`,
    outcome,
  ]);
  return `<h2>Targets</h2>${table(["target", "measured", "limit", ""], rows)}`;
}

function comparisonSection({ changes }: Comparison): string {
  const percent = (ratio: number) => `${(100 * (ratio - 1)).toFixed(1)} %`;
  const rows = changes.map((change) => [
    `${change.scenario}.${change.case}, ${NETWORK_LABELS[change.network]}`,
    `${METRICS[change.metric].label}${change.relativeToHost ? ", relative to host" : ""}`,
    percent(change.ratio),
    `${percent(change.low)} to ${percent(change.high)}`,
    change.probability.toFixed(3),
    change.verdict,
  ]);
  return `<h2>Changes</h2>${table(["", "figure", "change", "95 %", "p", ""], rows)}`;
}

function growthSection(cases: readonly CaseResult[]): string {
  const plots = growingScenarios(cases).map(({ name, cases: own }) => growthPlot(name, own));
  return plots.length === 0 ? "" : `<h2>By size</h2>${plots.join("\n")}`;
}

function caseSection(result: CaseResult): string {
  const metrics = metricsOf(result);
  const rows = NETWORKS.filter((name) => result.networks[name]).map((name) => [
    NETWORK_LABELS[name],
    ...metrics.map((key) => {
      const summary = result.networks[name]?.[key];
      return summary ? `${formatFigure(summary.median)} ± ${formatFigure(summary.mad)}` : "";
    }),
    ratioText(result.ratios[name]?.toHost ?? null),
    ...(result.size === undefined
      ? [ratioText(result.ratios[name]?.toSlim ?? null)]
      : [ratioText(result.growth?.[name]?.toSmallest ?? null), ratioText(result.growth?.[name]?.beyondHost ?? null)]),
  ]);
  const last = result.size === undefined ? ["to Slim"] : ["to the smallest", "beyond the host's"];
  const header = ["", ...metrics.map(metricTitle), "to host", ...last];
  return `<h2>${escapeText(`${result.scenario}.${result.case}`)}</h2>${casePlot(result)}${table(header, rows)}`;
}

function ratioText(ratio: Ratio | null): string {
  return ratio ? `${ratio.value.toFixed(2)} x (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)})` : "";
}
