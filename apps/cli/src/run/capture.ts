/** A short command in an endpoint of its own, its output captured: what checks and benchmarks are made of. */
import type { AgentClient } from "@slimfast/client";
import { exitCodeOf, type LaunchOptions, launch } from "./launch.js";

export interface Captured {
  readonly stdout: string;
  readonly stderr: string;
  /** 128 + n if it was ended by a signal; 124 if it took too long. */
  readonly exitCode: number;
  /** Overlay address of the endpoint in which it ran. */
  readonly address: string;
}

const TIMED_OUT = 124;

export async function capture(
  agent: AgentClient,
  options: LaunchOptions,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Captured> {
  signal?.throwIfAborted();
  const launched = await launch(agent, options, ["ignore", "pipe", "pipe"]);
  const { child } = launched;
  const output = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  let timedOut = false;
  const kill = () => child.kill("SIGKILL");
  const timer = setTimeout(() => {
    timedOut = true;
    kill();
  }, timeoutMs);
  signal?.addEventListener("abort", kill);
  try {
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const ending = await launched.ended;
    await closed;
    const exitCode = timedOut ? TIMED_OUT : exitCodeOf(ending);
    return { ...output, exitCode, address: launched.address };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", kill);
    await launched.detach();
  }
}
