/** `slimfast network …`. */
import type { Network } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { changeLabels } from "../resources/labels.js";
import { printResource } from "../resources/list.js";
import { parseLabels } from "../resources/values.js";
import { NETWORKS } from "../resources/views.js";

type Options = RemoteOptions & { readonly json?: boolean };

interface NetworkFields {
  readonly description?: string;
  readonly label?: readonly string[];
  readonly defaultDeny?: boolean;
  readonly egress?: readonly string[];
}

/** What cannot be changed later. */
interface FixedFields {
  readonly prefix?: string;
  readonly prefix6?: string;
  readonly vni?: string;
  readonly nodeSubnets?: string;
  readonly nodeSubnets6?: string;
}

export async function createNetwork(name: string, options: Options & NetworkFields & FixedFields): Promise<void> {
  const { prefix = "", prefix6 = "" } = options;
  if (options.prefix === undefined && options.prefix6 === undefined) {
    throw new CliError("usage", "a network needs addresses", { remedy: "give --prefix, --prefix6 or both" });
  }
  const { network } = await withCluster(options, ({ cluster }) =>
    cluster.createNetwork({
      network: {
        name,
        prefix,
        prefix6,
        vni: number(options.vni, "--vni"),
        nodeSubnetLength: number(options.nodeSubnets?.replace(/^\//, ""), "--node-subnets"),
        nodeSubnet6Length: number(options.nodeSubnets6?.replace(/^\//, ""), "--node-subnets6"),
        description: options.description ?? "",
        labels: parseLabels(options.label ?? [], "--label"),
        defaultDeny: options.defaultDeny ?? false,
        egress: egressRanges(options.egress ?? []),
      },
    }),
  );
  if (options.json) printJson({ ok: true, network });
  else printLine(`Created network ${name}: ${describePrefixes(present(network))}, VNI ${network?.vni}`);
}

export async function getNetwork(name: string, options: Options): Promise<void> {
  const { network } = await withCluster(options, ({ cluster }) => cluster.getNetwork({ name }));
  printResource(NETWORKS, present(network), options.json === true);
}

export async function updateNetwork(name: string, options: Options & NetworkFields): Promise<void> {
  const { description, label = [], defaultDeny, egress = [] } = options;
  const updateMask = [
    ...(description === undefined ? [] : ["description"]),
    ...(label.length === 0 ? [] : ["labels"]),
    ...(defaultDeny === undefined ? [] : ["default_deny"]),
    ...(egress.length === 0 ? [] : ["egress"]),
  ];
  if (updateMask.length === 0) {
    throw new CliError("usage", "nothing to change", {
      remedy: "give --description, --label, --default-deny, --no-default-deny or --egress",
    });
  }
  const { network } = await withCluster(options, async ({ cluster }) => {
    const { labels, etag } = present((await cluster.getNetwork({ name })).network);
    return cluster.updateNetwork({
      network: {
        name,
        etag,
        description: description ?? "",
        labels: changeLabels(labels, label),
        defaultDeny: defaultDeny ?? false,
        egress: egressRanges(egress),
      },
      updateMask,
    });
  });
  if (options.json) printJson({ ok: true, network });
  else printLine(`Updated network ${name}`);
}

export async function deleteNetwork(name: string, options: Options): Promise<void> {
  await withCluster(options, ({ cluster }) => cluster.deleteNetwork({ name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Deleted network ${name}`);
}

function describePrefixes({ prefix, prefix6 }: Network): string {
  return [prefix, prefix6].filter((text) => text !== "").join(" and ");
}

/** `none` alone: nothing outside. */
function egressRanges(given: readonly string[]): string[] {
  if (given.length === 1 && given[0] === "none") return [];
  if (given.includes("none")) throw new CliError("usage", "--egress none: excludes every other --egress");
  return [...given];
}

function number(text: string | undefined, option: string): number {
  const value = Number(text ?? 0);
  if (!Number.isInteger(value) || value < 0) throw new CliError("usage", `${option} ${text}: must be a number`);
  return value;
}

function present(network: Network | undefined): Network {
  if (!network) throw new CliError("failed", "the controller's answer has no network in it");
  return network;
}
