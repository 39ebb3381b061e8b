/** `slimfast endpoint …`. Endpoints are made by `run` and by orchestrators. */
import type { Endpoint } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { changeLabels } from "../resources/labels.js";
import { printResource } from "../resources/list.js";
import { ENDPOINTS } from "../resources/views.js";

type Options = RemoteOptions & { readonly json?: boolean; readonly network: string };

export async function getEndpoint(name: string, options: Options): Promise<void> {
  const { network } = options;
  const { endpoint } = await withCluster(options, ({ cluster }) => cluster.getEndpoint({ network, name }));
  printResource(ENDPOINTS, present(endpoint), options.json === true);
}

export async function labelEndpoint(name: string, changes: readonly string[], options: Options): Promise<void> {
  const { network } = options;
  const { endpoint } = await withCluster(options, async ({ cluster }) => {
    const { labels, etag } = present((await cluster.getEndpoint({ network, name })).endpoint);
    return cluster.updateEndpoint({
      endpoint: { network, name, etag, labels: changeLabels(labels, changes) },
      updateMask: ["labels"],
    });
  });
  if (options.json) printJson({ ok: true, endpoint });
  else printLine(`Labelled endpoint ${network}/${name}`);
}

function present(endpoint: Endpoint | undefined): Endpoint {
  if (!endpoint) throw new CliError("failed", "the controller's answer has no endpoint in it");
  return endpoint;
}
