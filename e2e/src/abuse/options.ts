/**
 * What the tables of the BPF programs let containers do with socket options, read from their source, and what a sweep over
 * all numbers (e2e/programs/hostile) has found.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = resolve(fileURLToPath(import.meta.url), "../../../../crates/slimfast-core/bpf/options.bpf.h");
const LEVELS: Readonly<Record<string, number>> = { socket_options: 1, ip_options: 0, ip6_options: 41, tcp_options: 6 };
const SOL_TLS = 282;

export interface Allowed {
  /** By no rule but that it may be: as the kernel does it. */
  readonly plainly: boolean;
  readonly set: boolean;
  readonly get: boolean;
}

const NOTHING: Allowed = { plainly: false, set: false, get: false };

/** An outcome of getsockopt: an errno, or the value's length and whether it is anything but zeros. */
type Read = string | readonly [number, boolean];

export interface Swept {
  readonly family: string;
  readonly level: number;
  readonly option: number;
  readonly set: readonly string[];
  readonly get: readonly Read[];
}

/** Answers for a level and an option. */
export function readTables(): (level: number, option: number) => Allowed {
  const source = readFileSync(SOURCE, "utf8");
  const known = new Map<string, Allowed>();
  for (const [, table = "", body = ""] of source.matchAll(/__u8 (\w+)\[MAX_OPTION\] = \{(.*?)\n\};/gs)) {
    const level = LEVELS[table];
    if (level === undefined) throw new Error(`${SOURCE} has a table of an unknown level: ${table}`);
    for (const [, option, rules = ""] of body.matchAll(/^ +\[(\d+)\] = ([A-Z0-9_ |]+),/gm)) {
      const words = rules.split("|").map((word) => word.trim());
      const set = words.some((word) => word === "SET" || word.startsWith("RULE_"));
      // Its value is the record's.
      const get = words.includes("GET") || words.includes("RULE_V6_ONLY");
      known.set(`${level}/${option}`, { plainly: words.includes("SET"), set, get });
    }
  }
  return (level, option) => {
    if (level === SOL_TLS && option >= 1 && option <= 5) return { plainly: true, set: true, get: true };
    return known.get(`${level}/${option}`) ?? NOTHING;
  };
}

export function readSweep(stdout: string): Swept[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Swept);
}

export function nameOfOption({ family, level, option }: Swept): string {
  return `${family}, level ${level}, option ${option}`;
}

/** Whether the value says anything. */
export function isTold(value: Read): boolean {
  return typeof value !== "string" && value[1];
}

/** What was set or read that no table lets be. */
export function leaksOf(swept: Swept, allowed: Allowed): string[] {
  const { set, get } = swept;
  const leaks: string[] = [];
  if (!allowed.set && set.includes("ok")) leaks.push(`${nameOfOption(swept)} is set: ${set.join(", ")}`);
  if (!allowed.get && get.some(isTold)) leaks.push(`${nameOfOption(swept)} is read: ${JSON.stringify(get)}`);
  return leaks;
}

/** How what is plainly allowed differs from what the kernel does where nothing is in between. */
export function differencesOf(ours: Swept, native: Swept, allowed: Allowed): string[] {
  const differences: string[] = [];
  if (allowed.plainly && ours.set.join() !== native.set.join()) {
    differences.push(`${nameOfOption(ours)}, set: ${ours.set.join()}, not ${native.set.join()}`);
  }
  const shapes = ({ get }: Swept) => get.map((value) => (typeof value === "string" ? value : value[0])).join();
  if (allowed.get && shapes(ours) !== shapes(native)) {
    differences.push(`${nameOfOption(ours)}, get: ${shapes(ours)}, not ${shapes(native)}`);
  }
  return differences;
}
