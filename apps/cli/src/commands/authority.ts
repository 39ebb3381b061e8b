/** `slimfast authority …`. */
import type { Authority } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { AUTHORITY_STATE } from "../resources/enums.js";
import { formatTime } from "../resources/values.js";

type Options = RemoteOptions & { readonly json?: boolean };

export async function listAuthorities(options: Options): Promise<void> {
  const { authorities } = await withCluster(options, ({ access }) => access.listAuthorities({}));
  if (options.json) {
    printJson(authorities.map(authorityJson));
    return;
  }
  const rows = authorities.map((one) => [
    one.name,
    AUTHORITY_STATE.name(one.state),
    formatTime(one.signTime),
    one.retireTime ? formatTime(one.retireTime) : "-",
    formatTime(one.expireTime),
    one.fingerprint,
  ]);
  printLine(formatTable(["AUTHORITY", "STATE", "SIGNS FROM", "TRUSTED UNTIL", "EXPIRES", "SHA-256"], rows));
}

export async function rotateAuthority(options: Options): Promise<void> {
  const { authority } = await withCluster(options, ({ access }) => access.rotateAuthority({}));
  if (!authority) throw new CliError("failed", "the controller's answer has no authority in it");
  if (options.json) printJson({ ok: true, authority: authorityJson(authority) });
  else printLine(`Made ${authority.name}: trusted from now on, signing from ${formatTime(authority.signTime)}`);
}

function authorityJson(one: Authority): object {
  return { ...one, state: AUTHORITY_STATE.name(one.state) };
}
