/** `slimfast status`. */
import type { AttachedEndpoint, Endpoint, EndpointUsage, GetStatusResponse } from "@slimfast/proto";
import { requireCluster, withAgent, withController } from "../cluster/access.js";
import type { NodePlan } from "../cluster/plan.js";
import type { ClusterState } from "../cluster/state-file.js";
import { EXIT, messageOf } from "../exit-codes.js";
import { formatTable, printJson, printLine } from "../output.js";
import { isAlive } from "../process/identity.js";
import { formatFamilies } from "../resources/values.js";

/** Of one agent's answer. Long: a node whose CPUs are all taken is busy, not gone. */
const ANSWER_TIMEOUT_MS = 10_000;

const AGENT_ENDED =
  "the agent has ended; the node's endpoints go on without it. Start it again with: ./slimfast up --detach";

interface NodeReport {
  readonly name: string;
  readonly netns: string;
  readonly underlayAddress: string;
  readonly ok: boolean;
  /** Why it is not ok; null if it is. */
  readonly error: string | null;
  readonly agent: GetStatusResponse | null;
  /** The endpoints that are attached there, with what they have; null without an agent. */
  readonly attached: AttachedEndpoint[] | null;
}

interface ControllerReport {
  readonly ok: boolean;
  readonly error: string | null;
  readonly networks: { name: string; vni: number; prefix: string; prefix6: string }[];
  readonly endpoints: Endpoint[];
  /** Nodes that do not have their present state, and why. */
  readonly outOfStep: { node: string; reason: string }[];
}

export async function status(options: { readonly json?: boolean }): Promise<void> {
  const state = requireCluster();
  const [nodes, controller] = await Promise.all([
    Promise.all(state.plan.nodes.map((node) => askNode(state, node))),
    askController(state),
  ]);
  const ok = controller.ok && nodes.every((node) => node.ok);
  if (options.json) printJson({ ok, runDir: state.plan.runDir, frontPorts: state.plan.frontPorts, controller, nodes });
  else printText(nodes, controller);
  if (!ok) process.exitCode = EXIT.failed;
}

async function askNode(state: ClusterState, node: NodePlan): Promise<NodeReport> {
  const base = { name: node.name, netns: node.netns, underlayAddress: node.underlayAddress };
  const record = state.processes.find((process) => process.node === node.name);
  if (!record || !isAlive(record)) return { ...base, ok: false, error: AGENT_ENDED, agent: null, attached: null };
  try {
    const options = { deadline: ANSWER_TIMEOUT_MS };
    const [agent, { endpoints }] = await withAgent(node, ({ local }) =>
      Promise.all([local.getStatus({}, options), local.listAttachedEndpoints({}, options)]),
    );
    const error = agent.controllerConnected ? null : "not connected to the controller";
    return { ...base, ok: error === null, error, agent, attached: endpoints };
  } catch (error) {
    return { ...base, ok: false, error: messageOf(error), agent: null, attached: null };
  }
}

async function askController(state: ClusterState): Promise<ControllerReport> {
  try {
    return await withController(state, async (controller) => {
      const networks = [];
      for await (const { name, vni, prefix, prefix6 } of controller.listAllNetworks()) {
        networks.push({ name, vni, prefix, prefix6 });
      }
      const endpoints = [];
      for await (const endpoint of controller.listAllEndpoints()) endpoints.push(endpoint);
      const outOfStep = [];
      for await (const { name, syncError } of controller.listAllNodes()) {
        if (syncError !== "") outOfStep.push({ node: name, reason: syncError });
      }
      return { ok: outOfStep.length === 0, error: null, networks, endpoints, outOfStep };
    });
  } catch (error) {
    return { ok: false, error: messageOf(error), networks: [], endpoints: [], outOfStep: [] };
  }
}

/** Says which limits have stopped something. */
function warnOfLimits(node: NodeReport, endpoint?: Endpoint, usage?: EndpointUsage): void {
  const stopped = [
    [usage?.refusedSockets, "sockets"],
    [usage?.refusedListeners, "listeners"],
    [usage?.refusedConnects, "connects"],
    [usage?.refusedInbound, "inbound connections"],
  ] as const;
  const told = stopped.filter(([count = 0n]) => count > 0n).map(([count, what]) => `${count} ${what}`);
  if (told.length === 0) return;
  printLine(`${node.name}: the limits of ${endpoint?.network}/${endpoint?.name} stopped ${told.join(", ")}`);
}

/** Says which containers may use io_uring. */
function warnOfUnguarded(node: NodeReport, { endpoint, unguardedListeners }: AttachedEndpoint): void {
  if (unguardedListeners === 0) return;
  const what = `${unguardedListeners} of its containers and execs may use io_uring, or it is not known`;
  printLine(`${node.name}: ${endpoint?.network}/${endpoint?.name}: ${what}; the agent's log says why`);
}

function printText(nodes: readonly NodeReport[], controller: ControllerReport): void {
  printLine(
    formatTable(
      ["NODE", "UNDERLAY", "STATE", "ENDPOINTS", "AGENT PID"],
      nodes.map((node) => [
        node.name,
        node.underlayAddress,
        node.ok ? "ready" : "FAILED",
        node.agent?.attachedEndpoints ?? "-",
        node.agent?.pid ?? "-",
      ]),
    ),
  );
  for (const node of nodes) if (node.error !== null) printLine(`${node.name}: ${node.error}`);
  for (const node of nodes) for (const { endpoint, usage } of node.attached ?? []) warnOfLimits(node, endpoint, usage);
  for (const node of nodes) for (const attached of node.attached ?? []) warnOfUnguarded(node, attached);
  for (const { node, reason } of controller.outOfStep) printLine(`${node}: out of step: ${reason}`);
  printLine();
  if (controller.error !== null) {
    printLine(`controller: ${controller.error}`);
    return;
  }
  printLine(
    formatTable(
      ["NETWORK", "VNI", "PREFIX"],
      controller.networks.map((network) => [
        network.name,
        network.vni,
        formatFamilies(network.prefix, network.prefix6),
      ]),
    ),
  );
  printLine();
  if (controller.endpoints.length === 0) {
    printLine("No endpoints. Start one with: ./slimfast run -- COMMAND");
    return;
  }
  printLine(
    formatTable(
      ["ENDPOINT", "NETWORK", "NODE", "ADDRESS", "PUBLISHED"],
      controller.endpoints.map((endpoint) => [
        endpoint.name,
        endpoint.network,
        endpoint.node,
        formatFamilies(endpoint.address, endpoint.address6),
        endpoint.publishedPorts.map((port) => `${port.hostPort}:${port.endpointPort}`).join(",") || "-",
      ]),
    ),
  );
}
