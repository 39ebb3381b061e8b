/**
 * Connections that do nothing, between pairs of endpoints of their own: one process may not have as many descriptors, nor one
 * client as many ports towards one server. The front ports of one node have room for more than is asked for.
 */
import { createInterface } from "node:readline";
import { connectAgent } from "@slimfast/client";
import { agentAddress } from "../../../../cluster/plan.js";
import { CliError } from "../../../../exit-codes.js";
import { rustProduct } from "../../../../paths.js";
import type { Launched } from "../../../../run/launch.js";
import { serverReady } from "../../../run-bench.js";
import type { Growth, Site } from "../scenario.js";
import { launchIn, remove } from "./in-endpoint.js";
import { kernelBytes } from "./memory.js";

const PORT = 9_300;
/** Fewer than the ports of Linux's ephemeral range, and than the descriptors that machines let a process have. */
const CONNECTIONS_PER_PAIR = 10_000;
const OPEN_TIMEOUT_MS = 120_000;

export async function growConnections({ nodes, signal }: Site): Promise<Growth> {
  const bench = rustProduct("slimfast-bench");
  const [client, server] = [
    connectAgent({ address: agentAddress(nodes.client) }),
    connectAgent({ address: agentAddress(nodes.server) }),
  ];
  const servers: Launched[] = [];
  const holders: Launched[] = [];
  let held = 0;
  const open = async (count: number) => {
    const name = `bench-scale-${servers.length}`;
    const serving = await launchIn(
      server,
      "preload",
      `${name}-server`,
      [bench, "serve", "--port", String(PORT)],
      "pipe",
    );
    servers.push(serving);
    await serverReady(serving.child, name);
    const to = `${serving.address}:${PORT}`;
    const holder = await launchIn(
      client,
      "preload",
      `${name}-client`,
      [bench, "hold", "--reset", "--to", to, "--count", String(count)],
      "pipe",
    );
    holders.push(holder);
    await untilHeld(holder, count);
    held += count;
  };
  return {
    reach: async (size) => {
      const [before, more] = [kernelBytes(), size - held];
      while (held < size) {
        signal.throwIfAborted();
        await open(Math.min(CONNECTIONS_PER_PAIR, size - held));
      }
      // Of a few, anything else that the machine does would be the larger part.
      const enough = more >= CONNECTIONS_PER_PAIR;
      return enough ? { "slimfast-preload": { bytesPerConnection: (kernelBytes() - before) / more } } : {};
    },
    close: async () => {
      for (const holder of holders.splice(0)) {
        // It resets its connections then; a killed one would leave them in TIME_WAIT.
        holder.child.stdin?.end();
        await holder.ended;
        await holder.detach();
      }
      for (const serving of servers.splice(0)) await remove(serving);
      client.close();
      server.close();
    },
  };
}

/** Resolves when it has said that it has all of them. */
async function untilHeld({ child }: Launched, count: number): Promise<void> {
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new TypeError("the client's output must be a pipe");
  let errors = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), OPEN_TIMEOUT_MS);
  try {
    for await (const line of createInterface({ input: stdout })) {
      if (line.includes(`"held":${count}`)) return;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new CliError("failed", `${count} connections could not be opened: ${errors.trim() || "no output"}`);
}
