/** Reads Prometheus' text format strictly, as `promtool check metrics` does, for tests. */

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly {
    readonly name: string;
    readonly labels: Record<string, string>;
    readonly value: number;
  }[];
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/gy;

export function parseMetrics(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  let current: (Family & { samples: Family["samples"][number][] }) | undefined;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === "HELP") helps.set(name, rest);
    else if (keyword === "TYPE") {
      current = { name, type: rest, help: helps.get(name) ?? "", samples: [] };
      families.set(name, current);
    } else {
      const match = SAMPLE.exec(line);
      if (!match || !current) throw new Error(`not a sample of the text format: ${line}`);
      const [, sample = "", labelText = "", value = ""] = match;
      if (!sample.startsWith(current.name)) throw new Error(`${sample} does not belong to ${current.name}`);
      const labels = Object.fromEntries([...labelText.matchAll(LABEL)].map(([, key, text]) => [key, text]));
      current.samples.push({ name: sample, labels, value: value === "+Inf" ? Infinity : Number(value) });
    }
  }
  return families;
}

/** What is against the conventions for names, units and help texts, in our own metrics. */
export function conventionViolations(families: ReadonlyMap<string, Family>): string[] {
  const violations: string[] = [];
  for (const { name, type, help } of families.values()) {
    if (!name.startsWith("slimfast_")) continue;
    const complain = (what: string) => violations.push(`${name} ${what}`);
    if (!/^[a-z][a-z0-9_]*$/.test(name)) complain("is not in snake case");
    if (help === "" || !help.endsWith(".")) complain("has no help text of a whole sentence");
    if ((type === "counter") !== name.endsWith("_total")) complain("is a counter without _total, or the reverse");
    if (/(milliseconds|_ms|microseconds|_us|minutes|kilobytes|megabytes|percent)(_|$)/.test(name))
      complain("has no base unit");
    if (type === "histogram" && !/_(seconds|bytes)$/.test(name)) complain("is a histogram without a unit");
    if (/_(counter|gauge|histogram|count|sum|bucket)$/.test(name)) complain("has its type in its name");
  }
  return violations;
}

export function sampleValue(
  families: ReadonlyMap<string, Family>,
  sample: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const family = families.get(sample) ?? families.get(sample.replace(/_(bucket|sum|count)$/, ""));
  return family?.samples.find(
    (one) => one.name === sample && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
  )?.value;
}
