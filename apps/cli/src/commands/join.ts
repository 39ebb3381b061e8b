/** `slimfast node join-command` and `slimfast node revoke`: how machines become nodes, and stop being ones. */
import { randomBytes } from "node:crypto";
import { Role } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { formatTime, parseDuration } from "../resources/values.js";

type Options = RemoteOptions & { readonly json?: boolean };

export async function joinCommand(
  node: string,
  options: Options & { readonly underlay: string; readonly expires: string },
): Promise<void> {
  const lifetime = parseDuration(options.expires, "--expires");
  const name = `join-${randomBytes(4).toString("hex")}`;
  const answer = await withCluster(options, async ({ access }) => {
    const token = { name, role: Role.ROLE_JOIN, usesLeft: 1, description: `for node ${node}` };
    const made = await access.createToken({ token, lifetime });
    if (made.controllers.length > 0) return made;
    await access.revokeToken({ name });
    throw new CliError("failed", "no controller of this cluster listens for agents over TLS", {
      remedy: "start it with --listen ADDRESS:PORT --tls; on this machine: slimfast up --tls",
    });
  });
  const { secret, controllers } = answer;
  const caPin = secret.split(".")[1] ?? "";
  const command = [
    ...["./slimfast", "agent", "--node", node, "--underlay", options.underlay],
    ...controllers.flatMap((address) => ["--controller", address]),
    ...["--join-token", secret, "--ca-pin", caPin],
  ];
  const expireTime = answer.token?.expireTime;
  if (options.json) {
    printJson({ ok: true, command, token: name, joinToken: secret, caPin, controllers, expireTime });
    return;
  }
  printLine(command.join(" "));
  process.stderr.write(
    `slimfast: run it as root on the new machine, until ${formatTime(expireTime)}. The token is for one node.\n`,
  );
}

export async function revokeNode(node: string, options: Options): Promise<void> {
  await withCluster(options, ({ access }) => access.revokeNodeCertificates({ node }));
  if (options.json) printJson({ ok: true });
  else printLine(`Revoked the certificates of node ${node}: it has to join again (slimfast node join-command)`);
}
