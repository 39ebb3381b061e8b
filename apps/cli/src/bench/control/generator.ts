/** The frame of a load generator: commands come over the pipe, answers go back; the process ends with its parent. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Answer, Command } from "./messages.js";

export type Reply = (answer: Answer) => void;

/** @param handle Does a command. What it throws is told as `failed`. */
export function runGenerator(handle: (command: Command, reply: Reply) => Promise<void>): void {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  let cpu = process.cpuUsage();
  const reply: Reply = (answer) => void process.send?.(answer);
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C is for the parent, which ends this process when it has cleaned up.
  process.on("SIGINT", () => undefined);
  process.on("message", (command: Command) => {
    if (command.kind === "usage") {
      const { user, system } = process.cpuUsage(cpu);
      const loopDelayP99Ms = Math.max(0, delay.percentile(99) / 1e6 - 5);
      reply({
        kind: "usage",
        usage: {
          cpuSeconds: (user + system) / 1e6,
          loopDelayP99Ms: Math.round(loopDelayP99Ms * 100) / 100,
          residentMib: Math.round(process.memoryUsage.rss() / 1024 / 1024),
        },
      });
      cpu = process.cpuUsage();
      delay.reset();
      return;
    }
    handle(command, reply).catch((error: unknown) => {
      reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
    });
  });
}
