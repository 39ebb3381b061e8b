/**
 * `slimfast run`: the command has the terminal, the exit code and the signals to itself; this process only waits beside it.
 */
import { findNode, requireCluster, withAgent } from "../cluster/access.js";
import { messageOf } from "../exit-codes.js";
import { type Ending, exitCodeOf, launch, type TierChoice } from "../run/launch.js";
import { parsePublishedPort } from "../run/publish.js";
import { sendTraces } from "../tracing.js";

/** Signals that somebody may send to this process and means for the command. */
const FORWARDED = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;

/** What a terminal sends to the whole foreground process group: the command has got it already. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGQUIT", "SIGWINCH"]);

export interface RunOptions {
  readonly node?: string;
  readonly network: string;
  readonly name?: string;
  readonly tier: TierChoice;
  readonly publish: readonly string[];
  readonly address?: string;
  readonly address6?: string;
}

export async function run(command: readonly string[], options: RunOptions): Promise<void> {
  const publishedPorts = options.publish.map(parsePublishedPort);
  const state = requireCluster();
  const [first] = state.plan.nodes;
  const node = options.node === undefined && first ? first : findNode(state, options.node ?? "");
  const ending = await withAgent(node, async (agent) => {
    const early: NodeJS.Signals[] = [];
    let deliver = (name: NodeJS.Signals): void => void early.push(name);
    const onSignal = (name: NodeJS.Signals) => deliver(name);
    for (const name of FORWARDED) process.on(name, onSignal);
    try {
      const { network, name = "", tier, address = "", address6 = "" } = options;
      const wanted = { network, name, tier, publishedPorts, command, address, address6 };
      const launched = await launch(agent, wanted, "inherit");
      deliver = (signalName) => {
        if (!(FROM_TERMINAL.has(signalName) && isForegroundOfTerminal())) launched.child.kill(signalName);
      };
      early.forEach(deliver);
      const result = await launched.ended;
      try {
        await launched.detach();
      } catch (error) {
        // The command's own result matters more; the agent removes the endpoint by itself, since it is ephemeral.
        process.stderr.write(`slimfast: the endpoint is not removed yet: ${messageOf(error)}\n`);
      }
      return result;
    } finally {
      for (const name of FORWARDED) process.off(name, onSignal);
    }
  });
  await sendTraces();
  endAs(ending);
}

/** Whether Ctrl-C on a terminal reaches this process, and thus the command in the same process group. */
function isForegroundOfTerminal(): boolean {
  return process.stdin.isTTY === true || process.stdout.isTTY === true || process.stderr.isTTY === true;
}

/** Ends this process as the command did, so that a shell sees no difference. */
function endAs(ending: Ending): void {
  process.exitCode = exitCodeOf(ending);
  // By the same signal: a shell that runs a script goes by that, not by the number.
  if (ending.signal !== null) process.kill(process.pid, ending.signal);
}
