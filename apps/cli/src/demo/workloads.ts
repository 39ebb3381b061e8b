/** The servers of the demo: started as endpoints of the second node, stopped together. */
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "@slimfast/client";
import { CliError } from "../exit-codes.js";
import { type Launched, launch } from "../run/launch.js";
import { type Container, startNginxContainer } from "./oci-container.js";
import { UDP_ECHO_SERVER } from "./programs.js";

export const WEB_PORT = 80;
export const CACHE_PORT = 11_211;
export const UDP_PORT = 5_353;

export interface Workloads {
  /** nginx, an OCI container under runc, in the notify tier. */
  readonly web: Container;
  /** memcached, under `slimfast-launch`. */
  readonly cache: Launched;
  readonly udpEcho: Launched;
  stop(): Promise<void>;
}

const LISTEN_TIMEOUT_MS = 15_000;
const STOP_GRACE_MS = 2_000;

/** @param agent of the node on which they run */
export async function startWorkloads(agent: AgentClient, runDir: string): Promise<Workloads> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  const start = async (name: string, command: string[]) => {
    const options = { network: "default", name, tier: "auto", publishedPorts: [], command } as const;
    const launched = await launch(agent, options, "ignore");
    stops.push(() => stopLaunched(launched));
    return launched;
  };
  try {
    const web = await startNginxContainer(agent, runDir, "web");
    stops.push(() => web.stop());
    const cache = await start("cache", ["memcached", "-u", "nobody", "-p", String(CACHE_PORT), "-U", "0"]);
    const udpEcho = await start("udp", ["python3", "-c", UDP_ECHO_SERVER, String(UDP_PORT)]);
    await waitForListener(agent, "web", WEB_PORT, web.ended);
    await waitForListener(
      agent,
      "cache",
      CACHE_PORT,
      cache.ended.then(() => "  memcached ended"),
    );
    return { web, cache, udpEcho, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function stopLaunched(launched: Launched): Promise<void> {
  launched.child.kill("SIGTERM");
  const grace = sleep(STOP_GRACE_MS, "late", { ref: false });
  if ((await Promise.race([launched.ended, grace])) === "late") launched.child.kill("SIGKILL");
  await launched.ended;
  await launched.detach();
}

/** @param ended resolves with the end of the program's log if it ends instead of listening */
async function waitForListener(
  agent: AgentClient,
  endpoint: string,
  port: number,
  ended: Promise<string>,
): Promise<void> {
  const deadline = Date.now() + LISTEN_TIMEOUT_MS;
  let log: string | null = null;
  void ended.then((text) => {
    log = text;
  });
  for (;;) {
    const { listeners } = await agent.local.listListeners({});
    if (listeners.some((listener) => listener.endpoint === endpoint && listener.local?.port === port)) return;
    if (log !== null) throw new CliError("failed", `${endpoint} has ended:\n${log}`);
    if (Date.now() > deadline) throw new CliError("failed", `${endpoint} does not listen on port ${port}`);
    await sleep(50);
  }
}
