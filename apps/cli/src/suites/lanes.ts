/**
 * Runs the parts of suites side by side, in lanes: most of them wait for other processes most of the time. A lane takes the
 * next part when it has done one, so that parts start in the order of the suites; heavy ones come last, one after the other.
 * Those that hardly need a CPU have a lane of their own, so that none of the others is idle.
 */
import { availableParallelism } from "node:os";
import { messageOf } from "../exit-codes.js";
import { failedReport, mergeReports, type Report, type SuiteResult } from "./result.js";
import type { Part, Suite } from "./suites.js";
import type { Surroundings } from "./tool.js";

/** Each part is processes by the dozen: with more lanes than CPUs, agents wait for CPUs longer than those that ask them do. */
const LANES_MAX = 4;

export function defaultLanes(): number {
  return Math.min(availableParallelism(), LANES_MAX);
}

export interface LaneOptions {
  readonly lanes: number;
  /** Whether parts that make clusters get sandboxes; they run one after the other otherwise. */
  readonly sandboxes: boolean;
  /** No part starts after it was aborted, and those that run end. */
  readonly signal: AbortSignal;
  onStart(suite: Suite): void;
  /** In the order in which they end. */
  onEnd(result: SuiteResult): void;
}

interface Progress {
  readonly suite: Suite;
  readonly reports: Report[];
  /** How many parts have not ended. */
  open: number;
  startedAt: number | null;
}

interface QueuedPart {
  readonly part: Part;
  readonly progress: Progress;
}

/** Results in the order of the suites; of those that were interrupted, what there is. */
export async function runSuites(suites: readonly Suite[], options: LaneOptions): Promise<SuiteResult[]> {
  const results = new Map<Suite, SuiteResult>();
  const queue: QueuedPart[] = [];
  let onMachine = false;
  const end = (progress: Progress) => {
    const { suite, reports, startedAt } = progress;
    const result = {
      suite: suite.name,
      ...mergeReports(reports),
      durationMs: startedAt === null ? 0 : Date.now() - startedAt,
    };
    results.set(suite, result);
    options.onEnd(result);
  };
  const lane = async (queue: QueuedPart[]) => {
    while (!options.signal.aborted) {
      const index = queue.findIndex(({ part }) => !(runsOnMachine(part, options) && onMachine));
      const next = queue[index];
      // Parts that have to wait for another one are left to the lane that runs it.
      if (!next) return;
      queue.splice(index, 1);
      const { part, progress } = next;
      if (progress.startedAt === null) {
        progress.startedAt = Date.now();
        options.onStart(progress.suite);
      }
      const exclusive = runsOnMachine(part, options);
      if (exclusive) onMachine = true;
      progress.reports.push(await runPart(part, progress.suite, options));
      if (exclusive) onMachine = false;
      progress.open -= 1;
      if (progress.open === 0) end(progress);
    }
  };

  const started: Progress[] = [];
  for (const suite of suites) {
    const parts = suite.needsRoot && process.geteuid?.() !== 0 ? [NEEDS_ROOT] : suite.parts();
    const progress: Progress = { suite, reports: [], open: parts.length, startedAt: null };
    started.push(progress);
    if (parts.length === 0) progress.reports.push(failedReport(suite.name, "this suite has no tests"));
    if (parts.length === 0) end(progress);
    queue.push(...parts.map((part) => ({ part, progress })));
  }
  const heavy = queue.filter(({ part }) => part.isHeavy);
  const hasOwnLane = ({ part }: QueuedPart) => part.isIdle && options.lanes > 1 && !runsOnMachine(part, options);
  const idle = queue.filter(hasOwnLane);
  const others = queue.filter((queued) => !queued.part.isHeavy && !hasOwnLane(queued));
  await Promise.all([lane(idle), ...Array.from({ length: options.lanes }, () => lane(others))]);
  await lane(heavy);
  for (const progress of started) if (progress.open > 0 && progress.startedAt !== null) end(progress);
  return suites.flatMap((suite) => results.get(suite) ?? []);
}

const NEEDS_ROOT: Part = {
  privileged: false,
  run: () => Promise.reject(new Error("this suite needs root")),
};

function runsOnMachine(part: Part, { sandboxes }: LaneOptions): boolean {
  return part.onMachine === true || (part.privileged && !sandboxes);
}

async function runPart(part: Part, suite: Suite, options: LaneOptions): Promise<Report> {
  const left: Report[] = [];
  const surroundings: Surroundings = {
    signal: options.signal,
    sandboxed: part.privileged && !runsOnMachine(part, options),
    onLeftSandbox: (why) => left.push(failedReport(`${suite.name}: its sandbox is left`, why)),
  };
  const report = await part.run(surroundings).catch((error: unknown) => failedReport(suite.name, messageOf(error)));
  return mergeReports([report, ...left]);
}
