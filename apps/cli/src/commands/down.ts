/** `slimfast down`. */
import { stopCluster } from "../cluster/stop.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";

export async function down(options: { readonly json?: boolean }): Promise<void> {
  const watch = watchInterrupts();
  const removed = await stopCluster(runDirectory(), options.json ? "quiet" : "normal");
  watch.close();
  if (options.json) printJson({ ok: true, removed });
  else printLine(removed ? "The cluster is down; nothing is left of it." : "No cluster was up; nothing to remove.");
}
