/** `slimfast console`: where the console is, and a token to log in with. */
import { randomBytes } from "node:crypto";
import { connectController } from "@slimfast/client";
import { Role } from "@slimfast/proto";
import { controllerAddress } from "../cluster/plan.js";
import { readState } from "../cluster/state-file.js";
import { CliError } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";

/** As long as a session at most; whoever works longer asks for another. */
const TOKEN_LIFETIME_SECONDS = 12n * 3_600n;

export async function consoleLogin(options: { readonly json?: boolean }): Promise<void> {
  const runDir = runDirectory();
  const state = readState(runDir);
  if (state?.phase !== "up" || state.consoleUrl === undefined) {
    throw new CliError("failed", "no cluster with a console is up here", { remedy: "start one with: slimfast up" });
  }
  const controller = connectController({ address: controllerAddress(runDir) });
  try {
    const { secret } = await controller.access.createToken({
      token: {
        name: `console-${randomBytes(4).toString("hex")}`,
        role: Role.ROLE_ADMIN,
        description: "slimfast console",
      },
      lifetime: { seconds: TOKEN_LIFETIME_SECONDS },
    });
    if (options.json) {
      printJson({ url: state.consoleUrl, token: secret });
      return;
    }
    printLine(`Console:  ${state.consoleUrl}`);
    printLine(`Token:    ${secret}`);
    printLine("The token is an administrator's, is valid for 12 hours and is not shown again.");
  } finally {
    controller.close();
  }
}
