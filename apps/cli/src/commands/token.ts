/** `slimfast token …` and `slimfast whoami`. */
import { CliError } from "../exit-codes.js";
import { formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { ROLE } from "../resources/enums.js";
import { collect } from "../resources/list.js";
import { formatTime, parseCount, parseDuration } from "../resources/values.js";
import { TOKENS } from "../resources/views.js";

type Options = RemoteOptions & { readonly json?: boolean };

export async function createToken(
  name: string,
  options: Options & {
    readonly role: string;
    readonly network?: readonly string[];
    readonly expires?: string;
    readonly uses?: string;
    readonly description?: string;
  },
): Promise<void> {
  const role = ROLE.parse(options.role, "--role");
  const lifetime = options.expires === undefined ? undefined : parseDuration(options.expires, "--expires");
  const usesLeft = options.uses === undefined ? 0 : parseCount(options.uses, "--uses", 0, 1_000_000);
  const { token, secret } = await withCluster(options, ({ access }) =>
    access.createToken({
      token: { name, role, networks: [...(options.network ?? [])], description: options.description ?? "", usesLeft },
      ...(lifetime === undefined ? {} : { lifetime }),
    }),
  );
  if (!token) throw new CliError("failed", "the controller's answer has no token in it");
  if (options.json) {
    printJson({ ok: true, token: TOKENS.json(token), secret });
    return;
  }
  printLine(secret);
  process.stderr.write(
    `slimfast: ${name}: ${ROLE.name(token.role)} until ${formatTime(token.expireTime)}. It is shown only this once.\n`,
  );
}

export async function listTokens(options: Options): Promise<void> {
  const tokens = await withCluster(options, (controller) => collect(controller.listAllTokens()));
  if (options.json) printJson(tokens.map(TOKENS.json));
  else if (tokens.length === 0) printLine("No tokens.");
  else printLine(formatTable(TOKENS.header, tokens.map(TOKENS.row)));
}

export async function revokeToken(name: string, options: Options): Promise<void> {
  await withCluster(options, ({ access }) => access.revokeToken({ name }));
  if (options.json) printJson({ ok: true });
  else printLine(`Revoked token ${name}`);
}

export async function whoAmI(options: Options): Promise<void> {
  const answer = await withCluster(options, ({ access }) => access.whoAmI({}));
  const { actor, role, networks, expireTime, controllerVersion } = answer;
  if (options.json) printJson({ actor, role: ROLE.name(role), networks, expireTime, controllerVersion });
  else {
    printLine(
      `${actor}: ${ROLE.name(role)}, networks: ${networks.join(", ") || "all"}, until: ${formatTime(expireTime)}`,
    );
  }
}
