/** Commands that run in endpoints of their own while a scenario grows. */
import type { AgentClient } from "@slimfast/client";
import { type Launched, launch } from "../../../../run/launch.js";
import { BENCH_NETWORK } from "../../networks/slimfast.js";

export function launchIn(
  agent: AgentClient,
  tier: "notify" | "preload",
  name: string,
  command: readonly string[],
  stdio: "ignore" | "pipe",
): Promise<Launched> {
  const options = { network: BENCH_NETWORK.name, tier, publishedPorts: [], name, command } as const;
  return launch(agent, options, [stdio, stdio, stdio]);
}

/** Ends the command and removes the endpoint. */
export async function remove({ child, ended, detach }: Launched): Promise<void> {
  child.kill("SIGKILL");
  await ended;
  await detach();
}

/**
 * Calls `make` for each number below `count`, so many at a time.
 *
 * @throws what one of them has thrown, when none runs any more: what they have made can be taken away then
 */
export async function atATime(count: number, concurrency: number, make: (index: number) => Promise<void>) {
  let next = 0;
  const failures: unknown[] = [];
  const worker = async () => {
    while (next < count && failures.length === 0) {
      const index = next;
      next += 1;
      await make(index).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  if (failures.length > 0) throw failures[0];
}
