/** What a growing scenario's cases cost by size, in SVG: a line for each network over a logarithmic axis, rounds as dots. Pure. */
import { formatFigure } from "../metrics.js";
import { NETWORKS } from "../networks/network.js";
import type { CaseResult } from "../result.js";
import { metricTitle, NETWORK_LABELS } from "../suite-table.js";
import { COLOURS, escapeText, place } from "./plot.js";

const WIDTH = 640;
const HEIGHT = 300;
const LEFT = 60;
const RIGHT = 160;
const TOP = 52;
const BOTTOM = 36;

/** The scenarios of a result that grow, each with its cases in ascending order. */
export function growingScenarios(cases: readonly CaseResult[]): { name: string; cases: readonly CaseResult[] }[] {
  const names = [...new Set(cases.filter(({ size }) => size !== undefined).map(({ scenario }) => scenario))];
  return names.map((name) => ({
    name,
    cases: cases.filter(({ scenario }) => scenario === name).sort((a, b) => (a.size ?? 0) - (b.size ?? 0)),
  }));
}

export function growthPlot(name: string, cases: readonly CaseResult[]): string {
  const [first] = cases;
  if (!first) throw new RangeError(`${name} has no cases`);
  const { primary } = first;
  const sizes = cases.map(({ size = 1 }) => size);
  const decades = Math.log10(Math.max(...sizes, 10) / Math.min(...sizes));
  const x = (size: number) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log10(size / Math.min(...sizes))) / decades;
  const summaryOf = (one: CaseResult, network: (typeof NETWORKS)[number]) => one.networks[network]?.[primary];
  const figures = cases.flatMap((one) => NETWORKS.flatMap((network) => summaryOf(one, network)?.samples ?? []));
  const largest = Math.max(...figures, Number.MIN_VALUE);
  const y = (value: number) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / largest;
  const lines = NETWORKS.flatMap((network) => {
    const points = cases.flatMap((one) => {
      const summary = summaryOf(one, network);
      return summary ? [{ size: one.size ?? 1, summary }] : [];
    });
    const last = points.at(-1);
    if (!last) return [];
    const colour = COLOURS[network];
    const path = points.map(({ size, summary }) => `${place(x(size))},${place(y(summary.median))}`).join(" ");
    const dots = points.flatMap(({ size, summary }) =>
      summary.samples.map(
        (sample) =>
          `<circle cx="${place(x(size))}" cy="${place(y(sample))}" r="2.5" fill="${colour}" fill-opacity="0.45"/>`,
      ),
    );
    const label = `${NETWORK_LABELS[network]} ${formatFigure(last.summary.median)}`;
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...dots,
      `<text x="${place(x(last.size) + 8)}" y="${place(y(last.summary.median) + 4)}" font-size="11">${escapeText(label)}</text>`,
    ];
  });
  const axis = `<line x1="${LEFT}" y1="${HEIGHT - BOTTOM}" x2="${WIDTH - RIGHT}" y2="${HEIGHT - BOTTOM}" stroke="#999"/>`;
  const ticks = sizes.map(
    (size) =>
      `<text x="${place(x(size))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${size.toLocaleString("en-US")}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12"><title>${escapeText(name)}</title><rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/><text x="8" y="16" font-size="13" font-weight="600">${escapeText(name)}</text><text x="8" y="33" fill="#555">${escapeText(metricTitle(primary))}; line: medians, dots: rounds; from 0 on</text>${axis}${ticks.join("")}${lines.join("")}</svg>\n`;
}
