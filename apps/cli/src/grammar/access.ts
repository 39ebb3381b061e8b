/** Grammar of the commands about who may do what, and who did what. */
import { type Command, Option } from "commander";
import { collectTexts, JSON_OPTION, remote } from "./options.js";

export function addAccessCommands(program: Command): void {
  const token = program.command("token").description("create, list and revoke API tokens");
  remote(token.command("create"))
    .description("create a token, and print its secret this once")
    .argument("<name>", "a DNS label")
    .addOption(
      new Option("--role <ROLE>", "what its bearer may do")
        .choices(["viewer", "operator", "admin", "join"])
        .makeOptionMandatory(),
    )
    .option("--network <NAME>", "only in this network; repeatable (default: all)", collectTexts)
    .option("--expires <DURATION>", "how long it is valid, for example 30d (default: 90d, and 1h for join)")
    .option("--uses <N>", "for join: how many nodes may join with it; 0 for any number")
    .option("--description <TEXT>", "whose it is, and what for")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExample:\n  $ slimfast token create ci --role operator --network blue --expires 30d")
    .action(async (name, options) => (await import("../commands/token.js")).createToken(name, options));
  remote(token.command("list"))
    .description("list the tokens, without their secrets")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/token.js")).listTokens(options));
  remote(token.command("revoke"))
    .description("end a token's rights at once")
    .argument("<name>", "the token")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/token.js")).revokeToken(name, options));

  const authority = program.command("authority").description("the cluster's own certificate authority");
  remote(authority.command("list"))
    .description("show which authority signs, which are trusted, and until when")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/authority.js")).listAuthorities(options));
  remote(authority.command("rotate"))
    .description("make the next authority; nobody has to join again")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/authority.js")).rotateAuthority(options));

  remote(program.command("whoami"))
    .description("show as whom the controller knows the caller")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/token.js")).whoAmI(options));

  remote(program.command("audit"))
    .description("show who did what: every changing and every refused call, newest first")
    .option("--filter <FILTER>", "only entries for which it is true (AIP-160)")
    .option("--follow", "show those from now on instead, until Ctrl-C")
    .option("--limit <N>", "at most so many", "100")
    .option(...JSON_OPTION)
    .addHelpText("after", '\nExample:\n  $ slimfast audit --filter \'actor = "token/ci" AND code != "OK"\'')
    .action(async (options) => (await import("../commands/audit.js")).audit(options));
}
