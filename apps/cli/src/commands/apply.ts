/** `slimfast apply` and `slimfast export`. */
import { readFileSync } from "node:fs";
import type { ControllerClient } from "@slimfast/client";
import { PortPurpose } from "@slimfast/proto";
import { stringify } from "yaml";
import { readWishes, type Wish } from "../apply/documents.js";
import { describeOutcome, describeStep, execute, type Outcome } from "../apply/execute.js";
import { type Present, planSteps, type Step, show } from "../apply/plan.js";
import { CliError, EXIT, messageOf } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { remedyFor } from "../remedies.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { NODE_STATE, POLICY_ACTION } from "../resources/enums.js";
import { collect } from "../resources/list.js";
import { formatPorts, parseLabel } from "../resources/values.js";

type Options = RemoteOptions & { readonly json?: boolean };

export async function apply(
  options: Options & {
    readonly file: readonly string[];
    readonly dryRun?: boolean;
    readonly diff?: boolean;
    readonly prune?: string;
  },
): Promise<void> {
  const prune = options.prune === undefined ? null : parseLabel(options.prune, "--prune");
  const wishes = options.file.flatMap((path) => readWishes(read(path), path === "-" ? "stdin" : path));
  await withCluster(options, async (controller) => {
    const steps = planSteps(wishes, await present(controller, wishes, prune !== null), prune);
    if (options.diff && !options.json) steps.forEach(printDiff);
    if (options.dryRun) {
      if (options.json) printJson({ ok: true, dryRun: true, steps: steps.map((step) => describe(step)) });
      else if (!options.diff) for (const step of steps) printLine(describeStep(step));
      return;
    }
    const outcomes = await execute(controller, steps);
    report(outcomes, options);
  });
}

function read(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (cause) {
    throw new CliError("usage", `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/** Only what the wishes are about is asked for. */
async function present(controller: ControllerClient, wishes: readonly Wish[], prunes: boolean): Promise<Present> {
  const kinds = new Set(wishes.map(({ kind }) => kind));
  const wanted = <Item>(kind: Wish["kind"], list: () => AsyncIterable<Item>) =>
    kinds.has(kind) || (prunes && (kind === "Network" || kind === "Policy")) ? collect(list()) : [];
  return {
    networks: await wanted("Network", () => controller.listAllNetworks()),
    policies: await wanted("Policy", () => controller.listAllPolicies()),
    reservations: await wanted("PortReservation", () => controller.listAllPortReservations()),
    nodes: await wanted("Node", () => controller.listAllNodes()),
    endpoints: await wanted("Endpoint", () => controller.listAllEndpoints()),
  };
}

function report(outcomes: readonly Outcome[], options: Options): void {
  const failed = outcomes.find(({ result }) => result === "failed");
  if (options.json) {
    printJson({
      ok: !failed,
      steps: outcomes.map(({ step, result, error }) => ({
        ...describe(step),
        result,
        error: error === null ? null : messageOf(error),
      })),
    });
  } else {
    for (const outcome of outcomes) printLine(describeOutcome(outcome));
  }
  if (!failed) return;
  const remedy = remedyFor(failed.error);
  if (remedy !== null) process.stderr.write(`  ${remedy}\n`);
  process.stderr.write("slimfast: not all was done; apply it again when the reason is gone: what is done stays done\n");
  process.exitCode = EXIT.failed;
}

function describe(step: Step) {
  const changes = step.type === "create" || step.type === "update" ? step.changes : [];
  const { kind, key } = step.type === "delete" ? step : step.wish;
  return { type: step.type, kind, key, changes };
}

function printDiff(step: Step): void {
  const sign = { create: "+", update: "~", delete: "-", unchanged: " " }[step.type];
  const { kind, key } = step.type === "delete" ? step : step.wish;
  printLine(`${sign} ${kind} ${key}`);
  if (step.type !== "create" && step.type !== "update") return;
  for (const { field, before, after } of step.changes) {
    if (step.type === "update") printLine(`  - ${field}: ${show(before, field)}`);
    printLine(`  + ${field}: ${show(after, field)}`);
  }
}

/** In the form that `apply` reads: applied to the same cluster it changes nothing. */
export async function exportCluster(options: Options & { readonly network?: string }): Promise<void> {
  const documents = await withCluster(options, (controller) => allDocuments(controller, options.network));
  if (options.json) printJson(documents);
  else process.stdout.write(documents.map((document) => stringify(document)).join("---\n"));
}

export async function allDocuments(controller: ControllerClient, onlyNetwork?: string): Promise<object[]> {
  const documents: object[] = [];
  for await (const network of controller.listAllNetworks()) {
    if (onlyNetwork !== undefined && network.name !== onlyNetwork) continue;
    const { name, prefix, prefix6, vni, description, labels, defaultDeny, egress } = network;
    const { nodeSubnetLength, nodeSubnet6Length } = network;
    const subnets = { nodeSubnetLength, nodeSubnet6Length };
    documents.push({
      kind: "Network",
      name,
      prefix,
      prefix6,
      vni,
      description,
      labels,
      defaultDeny,
      ...subnets,
      egress,
    });
  }
  if (onlyNetwork !== undefined && documents.length === 0) {
    throw new CliError("failed", `there is no network ${onlyNetwork}`, { remedy: "slimfast network list shows them" });
  }
  if (onlyNetwork === undefined) {
    for await (const { name, labels, state } of controller.listAllNodes()) {
      documents.push({ kind: "Node", name, labels, state: NODE_STATE.name(state) });
    }
    for await (const { name, node, ports, purpose, description } of controller.listAllPortReservations()) {
      if (purpose !== PortPurpose.PORT_PURPOSE_STATIC) continue;
      documents.push({ kind: "PortReservation", name, node, ports: formatPorts(ports), description });
    }
  }
  for await (const policy of controller.listAllPolicies({ network: onlyNetwork ?? "" })) {
    const { name, network, action, from, to, ports, description } = policy;
    documents.push({
      kind: "Policy",
      name,
      network,
      action: POLICY_ACTION.name(action),
      from,
      to,
      ports: ports.map(formatPorts),
      description,
    });
  }
  return documents;
}
