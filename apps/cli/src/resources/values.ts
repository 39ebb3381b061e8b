/** The small languages of command lines and files: durations, ports, labels, selectors. Both directions. */
import { type Duration, type EndpointSelector, formatIpPrefix, type PortRange, parseIpPrefix } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `90d`, `12h`, `30m`, `45s`. @throws CliError `usage` */
export function parseDuration(text: string, option: string): Duration {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  const seconds = Number(match?.[1]) * (SECONDS[match?.[2] ?? ""] ?? Number.NaN);
  if (!match) throw new CliError("usage", `${option} ${text}: must be a number and s, m, h or d, for example 12h`);
  return { seconds: BigInt(seconds), nanos: 0 };
}

/** `80` or `8000-8010`. @throws CliError `usage` */
export function parsePorts(text: string, option: string): PortRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = match?.[2] === undefined ? first : Number(match[2]);
  if (!match || first < 1 || last > 65_535 || last < first) {
    throw new CliError("usage", `${option} ${text}: must be a port or FIRST-LAST, from 1 to 65535`);
  }
  return { first, count: last - first + 1 };
}

export function formatPorts(ports: PortRange | undefined): string {
  if (!ports) return "-";
  return ports.count === 1 ? String(ports.first) : `${ports.first}-${ports.first + ports.count - 1}`;
}

/** `key=value`; `key` alone has an empty value. @throws CliError `usage` */
export function parseLabel(text: string, option: string): [string, string] {
  const match = /^([^=\s]+)(?:=(.*))?$/.exec(text);
  if (!match?.[1]) throw new CliError("usage", `${option} ${text}: must be KEY=VALUE`);
  return [match[1], match[2] ?? ""];
}

export function parseLabels(texts: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(texts.map((text) => parseLabel(text, option)));
}

export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([key, value]) => (value === "" ? key : `${key}=${value}`));
  return texts.sort().join(",") || "-";
}

/**
 * `KEY=VALUE` terms, an IPv4 or IPv6 prefix and `@ENDPOINT`, joined by commas: all must hold. `all` means every endpoint.
 *
 * @throws CliError `usage`
 */
export function parseSelector(text: string, option: string): EndpointSelector {
  const selector: EndpointSelector = { labels: {}, prefix: "", endpoint: "" };
  if (text === "all") return selector;
  for (const term of text.split(",").map((one) => one.trim())) {
    if (/^@./.test(term)) selector.endpoint = term.slice(1);
    else if (parseIpPrefix(term) !== "malformed") selector.prefix = term;
    else if (/^[^=@]+=/.test(term)) Object.assign(selector.labels, Object.fromEntries([parseLabel(term, option)]));
    else {
      throw new CliError(
        "usage",
        `${option} ${text}: ${term || "an empty term"} is no KEY=VALUE, CIDR, @ENDPOINT or all`,
      );
    }
  }
  return selector;
}

export function formatSelector({ labels, prefix, endpoint }: EndpointSelector): string {
  const terms = [
    ...(endpoint === "" ? [] : [`@${endpoint}`]),
    ...(prefix === "" ? [] : [prefix]),
    ...Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .sort(),
  ];
  return terms.join(",") || "all";
}

/** As the controller keeps it; what is no prefix stays as it is, for the controller to say what is wrong. */
export function canonicalPrefix(text: string): string {
  const prefix = parseIpPrefix(text);
  return typeof prefix === "string" ? text : formatIpPrefix(prefix);
}

/** A table's cell for what there is of each family: prefixes or addresses. */
export function formatFamilies(...texts: readonly string[]): string {
  return texts.filter((text) => text !== "").join(",") || "-";
}

/** A table's cell for a time: with seconds, in UTC. */
export function formatTime(time: Date | undefined): string {
  return time ? time.toISOString().replace(/\.\d+Z$/, "Z") : "-";
}

/** @throws CliError `usage` */
export function parseCount(text: string, option: string, least: number, most: number): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < least || count > most) {
    throw new CliError("usage", `${option} ${text}: must be a number from ${least} to ${most}`);
  }
  return count;
}
