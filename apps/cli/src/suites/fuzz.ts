/**
 * Fuzzes what reads bytes that others made, with libFuzzer: the parsers of slimfast-core, whose targets are named by the
 * directories of their cases (crates/slimfast-core/fuzz/corpus), and the BPF programs' parsers of packets, compiled for
 * user space. An input that breaks something is left among the cases, which ordinary tests replay.
 *
 * SLIMFAST_FUZZ_SECONDS says how long each target is fuzzed.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { ROOT } from "../paths.js";
import { failedReport, mergeReports, type Report } from "./result.js";
import { lastLines, runTool, type Surroundings } from "./tool.js";

const FOLDER = "crates/slimfast-core/fuzz";
const CORPUS = `${FOLDER}/corpus`;
/** What is found on the way, which later runs go on from. */
const FINDINGS = ".slimfast/fuzz";
const DIRECTORY = "target/fuzz";
const CLANG = "clang-16";

const SECONDS = 2;
const SECONDS_FULL = 300;
/** Of one input. */
const TIMEOUT_S = 10;
/** The same: what is sent to the parsers has to fit into a socket's buffer. */
const MAX_BYTES = 4_096;

/** Reports to libFuzzer which edges were taken and what was compared: what cargo-fuzz has the compiler do. */
const INSTRUMENTED = [
  ...["--cfg", "fuzzing", "-Cpasses=sancov-module"],
  ...["level=4", "inline-8bit-counters", "pc-table", "trace-compares"].map(
    (option) => `-Cllvm-args=-sanitizer-coverage-${option}`,
  ),
  ...["-Cdebug-assertions=on", "-Coverflow-checks=on"],
];

interface Fuzzer {
  readonly program: string;
  /** By the name of their log. */
  readonly builds: Readonly<Record<string, readonly [string, ...string[]]>>;
}

/** Only the crate itself is instrumented, so that the rest is the build that is there already. */
const CORE: Fuzzer = {
  program: `${DIRECTORY}/core`,
  builds: {
    "fuzz-build-core": [
      "cargo",
      ...["rustc", "--release", "--package", "slimfast-core", "--lib", "--crate-type", "staticlib", "--"],
      ...INSTRUMENTED,
    ],
    "fuzz-link-core": [
      CLANG,
      ...["-fsanitize=fuzzer", "target/release/libslimfast_core.a", "-lelf", "-lz", "-lstdc++", "-lm"],
      ...["-o", `${DIRECTORY}/core`],
    ],
  },
};

const WIRE: Fuzzer = {
  program: `${DIRECTORY}/wire`,
  builds: { "fuzz-build-wire": [CLANG, `@${FOLDER}/wire.flags`, "-o", `${DIRECTORY}/wire`] },
};

/** Of a directory of cases. */
function fuzzerOf(target: string): Fuzzer {
  return target === "wire" ? WIRE : CORE;
}

export function secondsOf(environment: NodeJS.ProcessEnv): number {
  const { SLIMFAST_FUZZ_SECONDS: given, SLIMFAST_TEST_FULL: full } = environment;
  const seconds = Number(given ?? (full === "1" ? SECONDS_FULL : SECONDS));
  if (!Number.isInteger(seconds) || seconds < 1)
    throw new Error(`SLIMFAST_FUZZ_SECONDS is no number of seconds: ${given}`);
  return seconds;
}

export async function runFuzzers(surroundings: Surroundings): Promise<Report> {
  const seconds = secondsOf(process.env);
  mkdirSync(join(ROOT, DIRECTORY), { recursive: true });
  const builds = [CORE, WIRE].map(async ({ builds }) => {
    for (const [log, [program, ...args]] of Object.entries(builds)) {
      const { exitCode, output } = await runTool(log, program, args, surroundings);
      if (exitCode !== 0) return failedReport(log, lastLines(output));
    }
    return null;
  });
  const failed = (await Promise.all(builds)).filter((report) => report !== null);
  if (failed.length > 0) return mergeReports(failed);
  const targets = readdirSync(join(ROOT, CORPUS)).sort();
  const reports: Report[] = [];
  const work = async () => {
    for (let target = targets.shift(); target !== undefined; target = targets.shift()) {
      reports.push(await fuzz(target, seconds, surroundings));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return mergeReports(reports);
}

async function fuzz(target: string, seconds: number, surroundings: Surroundings): Promise<Report> {
  const [cases, findings] = [join(CORPUS, target), join(FINDINGS, target)];
  mkdirSync(join(ROOT, findings), { recursive: true });
  const args = [
    ...[`SLIMFAST_FUZZ_TARGET=${target}`, fuzzerOf(target).program],
    ...[`-max_total_time=${seconds}`, `-timeout=${TIMEOUT_S}`, `-max_len=${MAX_BYTES}`, "-print_final_stats=1"],
    ...[`-artifact_prefix=${cases}/`, findings, cases],
  ];
  const { exitCode, output } = await runTool(`fuzz-${target}`, "env", args, surroundings);
  if (exitCode === 0) return { passed: 1, failed: 0, skipped: 0, failures: [], flaky: [] };
  const advice = `If an input has broken it, it is now among ${cases}, where it belongs together with the correction.`;
  return failedReport(`fuzz ${target}`, `${lastLines(output)}\n${advice}`);
}
