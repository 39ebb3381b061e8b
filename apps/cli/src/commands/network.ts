/** `slimfast network …`. */
import { requireCluster, withController } from "../cluster/access.js";
import { CliError } from "../exit-codes.js";
import { formatTable, printJson, printLine } from "../output.js";

interface JsonOption {
  readonly json?: boolean;
}

export async function createNetwork(
  name: string,
  options: JsonOption & { readonly prefix: string; readonly vni?: string },
): Promise<void> {
  const vni = Number(options.vni ?? 0);
  if (!Number.isInteger(vni) || vni < 0) throw new CliError("usage", `--vni ${options.vni}: must be a number`);
  const { network } = await withController(requireCluster(), ({ cluster }) =>
    cluster.createNetwork({ network: { name, prefix: options.prefix, vni } }),
  );
  if (options.json) printJson({ ok: true, network });
  else printLine(`Created network ${name}: ${network?.prefix}, VNI ${network?.vni}`);
}

export async function listNetworks(options: JsonOption): Promise<void> {
  const networks = await withController(requireCluster(), async (controller) => {
    const all = [];
    for await (const { name, vni, prefix } of controller.listAllNetworks()) all.push({ name, vni, prefix });
    return all;
  });
  if (options.json) printJson(networks);
  else
    printLine(
      formatTable(
        ["NETWORK", "VNI", "PREFIX"],
        networks.map(({ name, vni, prefix }) => [name, vni, prefix]),
      ),
    );
}

export async function deleteNetwork(name: string, options: JsonOption): Promise<void> {
  await withController(requireCluster(), ({ cluster }) => cluster.deleteNetwork({ name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Deleted network ${name}`);
}
