/**
 * Progress of operations of several steps, on stderr: listr2 on a terminal, plain lines otherwise, nothing when quiet.
 * The steps themselves do not know which.
 */
import { Listr, ListrLogger, ProcessOutput } from "listr2";

export interface Step {
  readonly title: string;
  /** `note` replaces what is shown beside the title while the step runs. */
  run(note: (text: string) => void): Promise<void>;
}

/** How much is shown. `quiet` is for callers that print JSON and for tests. */
export type Verbosity = "normal" | "quiet";

/** Runs the steps in order and throws the first one's error. */
export async function runSteps(steps: readonly Step[], verbosity: Verbosity): Promise<void> {
  if (verbosity === "normal" && process.stderr.isTTY && !process.env.CI) {
    const list = new Listr(
      steps.map((step) => ({
        title: step.title,
        task: (_context: unknown, task: { output: string }) =>
          step.run((text) => {
            task.output = text;
          }),
      })),
      {
        exitOnError: true,
        registerSignalListeners: false,
        rendererOptions: {
          collapseErrors: false,
          showErrorMessage: false,
          logger: new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) }),
        },
      },
    );
    await list.run();
    return;
  }
  for (const step of steps) {
    if (verbosity === "normal") sayProgress(step.title);
    await step.run(() => undefined);
  }
}

/** A line of progress outside of any step. */
export function sayProgress(line: string): void {
  process.stderr.write(`slimfast: ${line}\n`);
}
