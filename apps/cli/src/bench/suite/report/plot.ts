/** A case as a plot, in SVG: a bar for the median of each network, its rounds as dots. Pure. */
import { formatFigure } from "../metrics.js";
import { NETWORKS, type NetworkName } from "../networks/network.js";
import type { CaseResult } from "../result.js";
import { metricTitle, NETWORK_LABELS } from "../suite-table.js";

const WIDTH = 640;
const LABEL_WIDTH = 130;
const VALUE_WIDTH = 130;
const ROW_HEIGHT = 30;
const BAR_HEIGHT = 18;
const TOP = 44;
const BOTTOM = 14;

export const COLOURS: Readonly<Record<NetworkName, string>> = {
  host: "#8a8f98",
  vxlan: "#c9a227",
  slim: "#b5533c",
  "slimfast-notify": "#5b8def",
  "slimfast-preload": "#1f5fbf",
};

export function casePlot(result: CaseResult): string {
  const rows = NETWORKS.flatMap((name) => {
    const summary = result.networks[name]?.[result.primary];
    return summary ? [{ name, summary, ratio: result.ratios[name]?.toHost ?? null }] : [];
  });
  const largest = Math.max(...rows.flatMap(({ summary }) => [summary.median, ...summary.samples]), Number.MIN_VALUE);
  const x = (value: number) => LABEL_WIDTH + ((WIDTH - LABEL_WIDTH - VALUE_WIDTH) * value) / largest;
  const height = TOP + rows.length * ROW_HEIGHT + BOTTOM;
  const bars = rows.map(({ name, summary, ratio }, index) => {
    const top = TOP + index * ROW_HEIGHT;
    const middle = top + BAR_HEIGHT / 2;
    const dots = summary.samples.map(
      (sample) => `<circle cx="${place(x(sample))}" cy="${middle}" r="2.5" fill="#111" fill-opacity="0.45"/>`,
    );
    const text = `${formatFigure(summary.median)}${ratio && name !== "host" ? ` (${ratio.value.toFixed(2)} x host)` : ""}`;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escapeText(NETWORK_LABELS[name])}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${top}" width="${place(x(summary.median) - LABEL_WIDTH)}" height="${BAR_HEIGHT}" fill="${COLOURS[name]}"/>`,
      ...dots,
      `<text x="${WIDTH - VALUE_WIDTH + 10}" y="${middle + 4}">${escapeText(text)}</text>`,
    ].join("");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" font-family="system-ui, sans-serif" font-size="12"><title>${escapeText(result.title)}</title><rect width="${WIDTH}" height="${height}" fill="#fff"/><text x="8" y="16" font-size="13" font-weight="600">${escapeText(result.title)}</text><text x="8" y="33" fill="#555">${escapeText(metricTitle(result.primary))}; bar: median, dots: rounds</text>${bars.join("")}</svg>\n`;
}

export function place(value: number): string {
  return value.toFixed(1);
}

export function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
