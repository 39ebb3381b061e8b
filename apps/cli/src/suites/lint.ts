/** Runs the lint target of every project through nx; each project counts as one test. */
import { failedReport, type Report } from "./result.js";
import { lastLines, runTool, type Surroundings } from "./tool.js";

export async function runLint(surroundings: Surroundings): Promise<Report> {
  const nx = "node_modules/.bin/nx";
  const listing = await runTool(
    "test-lint-projects",
    nx,
    ["show", "projects", "--with-target", "lint", "--json"],
    surroundings,
  );
  const projects = readProjects(listing.output);
  if (projects === null) return failedReport("nx show projects", lastLines(listing.output));
  const { exitCode, output } = await runTool(
    "test-lint",
    nx,
    ["run-many", "-t", "lint", "--outputStyle=static", "--parallel=2", "--nxBail=false"],
    surroundings,
  );
  const failed = failedTasks(output).filter((task) => projects.includes(task));
  if (exitCode !== 0 && failed.length === 0) return failedReport("nx run-many -t lint", lastLines(output));
  return {
    passed: projects.length - failed.length,
    failed: failed.length,
    skipped: 0,
    flaky: [],
    failures: failed.map((project) => ({ test: `lint ${project}`, detail: lastLines(taskOutput(output, project)) })),
  };
}

export function readProjects(output: string): string[] | null {
  for (const line of output.split("\n")) {
    if (!line.startsWith("[")) continue;
    const value: unknown = JSON.parse(line);
    if (Array.isArray(value)) return value.map(String);
  }
  return null;
}

/** The projects under "Failed tasks:", which nx prints as `- PROJECT:lint`. */
export function failedTasks(output: string): string[] {
  const [, list = ""] = output.split(/^Failed tasks:$/m);
  return [...list.matchAll(/^- ([\w@/-]+):lint$/gm)].map((match) => match[1] ?? "");
}

/** What the task printed, from its heading to the next one. */
export function taskOutput(output: string, project: string): string {
  const [, after = ""] = output.split(`> nx run ${project}:lint\n`);
  return after.split(/^> nx run /m)[0]?.split(/^ NX {3}/m)[0] ?? "";
}
