/** `slimfast policy …`. */
import type { Policy, TryPolicyResponse } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { POLICY_ACTION, VERDICT } from "../resources/enums.js";
import { printResource } from "../resources/list.js";
import { parsePorts, parseSelector } from "../resources/values.js";
import { POLICIES } from "../resources/views.js";
import { describeConnection, formatAddress } from "./connections.js";

type Options = RemoteOptions & { readonly json?: boolean; readonly network: string };

export interface PolicyFields {
  readonly action?: string;
  readonly from?: readonly string[];
  readonly to?: readonly string[];
  readonly port?: readonly string[];
  readonly description?: string;
}

export async function getPolicy(name: string, options: Options): Promise<void> {
  const { network } = options;
  const { policy } = await withCluster(options, ({ cluster }) => cluster.getPolicy({ network, name }));
  printResource(POLICIES, present(policy), options.json === true);
}

export async function createPolicy(name: string, options: Options & PolicyFields): Promise<void> {
  const policy = wholePolicy(name, options);
  const answer = await withCluster(options, ({ cluster }) => cluster.createPolicy({ policy }));
  if (options.json) printJson({ ok: true, policy: POLICIES.json(present(answer.policy)) });
  else printLine(`Created policy ${options.network}/${name}`);
}

export async function updatePolicy(name: string, options: Options & PolicyFields): Promise<void> {
  const fields = givenFields(options);
  const updateMask = Object.keys(fields);
  if (updateMask.length === 0) {
    throw new CliError("usage", "nothing to change", {
      remedy: "give --action, --from, --to, --port or --description",
    });
  }
  const { network } = options;
  const answer = await withCluster(options, async ({ cluster }) => {
    const { etag } = present((await cluster.getPolicy({ network, name })).policy);
    return cluster.updatePolicy({ policy: { ...fields, network, name, etag }, updateMask });
  });
  if (options.json) printJson({ ok: true, policy: POLICIES.json(present(answer.policy)) });
  else printLine(`Updated policy ${network}/${name}`);
}

export async function deletePolicy(name: string, options: Options): Promise<void> {
  const { network } = options;
  await withCluster(options, ({ cluster }) => cluster.deletePolicy({ network, name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Deleted policy ${network}/${name}`);
}

/** Tries it against what talks to whom now; changes nothing. */
export async function tryPolicy(
  name: string,
  options: Options & PolicyFields & { readonly deleted?: boolean },
): Promise<void> {
  const { network } = options;
  const policy = options.deleted ? { network, name } : wholePolicy(name, options);
  const answer = await withCluster(options, ({ operations }) =>
    operations.tryPolicy({ policy, deleted: options.deleted === true }),
  );
  if (options.json) printJson({ ok: true, ...describeTrial(answer) });
  else printTrial(answer);
}

function describeTrial(answer: TryPolicyResponse) {
  return {
    tried: answer.tried,
    newlyDenied: answer.newlyDenied,
    newlyAllowed: answer.newlyAllowed,
    effects: answer.effects.map(({ connection, before, after }) => ({
      id: connection?.id,
      before: VERDICT.name(before),
      after: VERDICT.name(after),
      connection: connection?.connection ? describeConnection(connection.connection) : null,
    })),
  };
}

function printTrial(answer: TryPolicyResponse): void {
  printLine(
    `Of ${answer.tried} live and recent connections, ${answer.newlyDenied} would be denied and ${answer.newlyAllowed} allowed that were not.`,
  );
  if (answer.effects.length === 0) return;
  printLine();
  printLine(
    formatTable(
      ["CONNECTION", "ENDPOINT", "LOCAL", "PEER", "NOW", "THEN"],
      answer.effects.map(({ connection, before, after }) => [
        connection?.id ?? "-",
        connection?.connection?.endpoint ?? "-",
        formatAddress(connection?.connection?.local),
        formatAddress(connection?.connection?.peer),
        VERDICT.name(before),
        VERDICT.name(after),
      ]),
    ),
  );
}

function wholePolicy(name: string, options: Options & PolicyFields) {
  if (options.action === undefined) throw new CliError("usage", "--action is missing: allow or deny");
  const { from = [parseSelector("all", "")], to = [parseSelector("all", "")], ...rest } = givenFields(options);
  return { name, network: options.network, from, to, ...rest };
}

function givenFields(options: PolicyFields): Partial<Policy> {
  const { action, from = [], to = [], port = [], description } = options;
  return {
    ...(action === undefined ? {} : { action: POLICY_ACTION.parse(action, "--action") }),
    ...(from.length === 0 ? {} : { from: from.map((text) => parseSelector(text, "--from")) }),
    ...(to.length === 0 ? {} : { to: to.map((text) => parseSelector(text, "--to")) }),
    ...(port.length === 0
      ? {}
      : {
          ports:
            port[0] === "all" ? [] : port.flatMap((text) => text.split(",")).map((text) => parsePorts(text, "--port")),
        }),
    ...(description === undefined ? {} : { description }),
  };
}

function present(policy: Policy | undefined): Policy {
  if (!policy) throw new CliError("failed", "the controller's answer has no policy in it");
  return policy;
}
