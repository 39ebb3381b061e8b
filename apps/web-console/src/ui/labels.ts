/** Labels and selectors as the command line writes them. Pure. */
import type { EndpointSelector } from "@slimfast/proto";

export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(", ");
}

/** `a=b, c=d`. @throws Error that says how labels are written */
export function parseLabels(text: string): Record<string, string> {
  const parts = listOf(text);
  const wrong = parts.find((part) => !/^[^=\s]+=\S*$/.test(part));
  if (wrong !== undefined) throw new Error(`${wrong}: labels are written as key=value, separated by commas`);
  return Object.fromEntries(parts.map((part) => part.split("=", 2) as [string, string]));
}

/** What stands between commas. */
export function listOf(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** `all`, or `key=value`, a prefix and `@endpoint` joined by commas; alternatives are separated by `;`. */
export function parseSelectors(text: string): EndpointSelector[] {
  return text.split(";").map(parseSelector);
}

function parseSelector(text: string): EndpointSelector {
  const selector: EndpointSelector = { labels: {}, prefix: "", endpoint: "" };
  if (text.trim() === "all" || text.trim() === "") return selector;
  for (const term of listOf(text)) {
    if (/^@./.test(term)) selector.endpoint = term.slice(1);
    else if (/^[0-9a-fA-F.:]+\/\d+$/.test(term)) selector.prefix = term;
    else if (/^[^=\s]+=\S*$/.test(term)) Object.assign(selector.labels, parseLabels(term));
    else throw new Error(`${term}: write all, key=value, @endpoint or a prefix such as 10.32.1.0/24`);
  }
  return selector;
}

export function selectorText({ labels, prefix, endpoint }: EndpointSelector): string {
  const terms = [endpoint && `@${endpoint}`, prefix, labelText(labels).replaceAll(", ", ",")];
  return terms.filter((term) => term !== "").join(",") || "all";
}

export function selectorsText(selectors: readonly EndpointSelector[]): string {
  return selectors.map(selectorText).join("; ");
}
