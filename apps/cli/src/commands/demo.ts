/** `slimfast demo`. */
import { setupTable } from "../bench/table.js";
import { type RunningDemo, startDemo } from "../demo/demo.js";
import { EXIT, messageOf } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";

/** The check that fails when there is nothing to check. */
const STARTS = "the demo starts";

export async function demo(options: { readonly once?: boolean; readonly json?: boolean }): Promise<void> {
  const watch = watchInterrupts();
  const verbosity = options.json ? "quiet" : "normal";
  const running = await startDemo(runDirectory(), watch.signal, verbosity).catch((error: unknown) => {
    // Readers of the object find the failure where they look for failures.
    if (options.json)
      printJson({ ok: false, checks: [{ name: STARTS, ok: false, detail: messageOf(error) }], setup: {} });
    throw error;
  });
  const { report } = running;
  try {
    if (options.json) printJson(report);
    else printReport(running);
    if (!options.once) {
      if (!options.json) printNextCommands(running);
      await watch.interrupted;
      if (!options.json) process.stderr.write("\n");
    }
  } finally {
    await running.stop();
    watch.close();
  }
  if (!report.ok) process.exitCode = EXIT.failed;
}

function printReport({ report, measured }: RunningDemo): void {
  printLine();
  for (const check of report.checks)
    printLine(`${check.ok ? "ok    " : "FAILED"}  ${check.name}\n          ${check.detail}`);
  printLine();
  printLine("Connection setup in this run, from node-1 to node-2 (medians):");
  printLine(setupTable(measured));
  printLine();
  printLine(report.ok ? "Everything worked." : "Not everything worked: see FAILED above.");
}

function printNextCommands({ plan, workloads }: RunningDemo): void {
  const [first] = plan.nodes;
  printLine(`
The cluster stays up. In another terminal, try:

  ./slimfast run --node ${first?.name} -- curl http://${workloads.web.address}/whoami
  ./slimfast run --node ${first?.name} -- ping -c 3 ${workloads.web.address}
  ./slimfast connections --follow
  ./slimfast status
  ./slimfast run --node ${first?.name} -- bash

Ctrl-C ends the demo and removes every trace of it.`);
}
