/** Grammar of the commands about what happens in a cluster, about files for it, and about the command line itself. */
import { Argument, type Command } from "commander";
import { collectTexts, JSON_OPTION, remote } from "./options.js";

export function addOperationsCommands(program: Command): void {
  remote(program.command("connections"))
    .description("show the live TCP connections of all endpoints, with overlay and underlay addresses")
    .option("--follow", "go on with connections as they open and close, until Ctrl-C")
    .option("--filter <FILTER>", "only those for which it is true (AIP-160); asks the controller")
    .option("--all", "also those that closed or were refused lately; asks the controller")
    .option("--local", "ask this machine's agents only, which read the kernel (the default on such a cluster)")
    .option("--limit <N>", "at most so many of each node, or of the controller's; at most 16000", "1000")
    .option("--json", "print JSON: one array, or with --follow one object per line")
    .addHelpText(
      "after",
      "\nExamples:\n  $ slimfast connections --follow\n  $ slimfast connections --all --filter 'connection.endpoint = \"web\"'",
    )
    .action(async (options) => (await import("../commands/connections.js")).connections(options));

  const connection = program.command("connection").description("act on one connection");
  remote(connection.command("cut"))
    .description("reset a connection")
    .argument("<id>", "NODE/COOKIE, as `slimfast connections` shows it")
    .option(...JSON_OPTION)
    .action(async (id, options) => (await import("../commands/connections.js")).cutConnection(id, options));

  remote(program.command("top"))
    .description("the cluster at a glance: nodes, rates, who is busiest; live on a terminal")
    .option("--once", "one snapshot")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nWithout a terminal, and with --json, it is one snapshot. q or Ctrl-C ends the live view.")
    .action(async (options) => (await import("../commands/top.js")).top(options));
}

export function addFileCommands(program: Command): void {
  remote(program.command("apply"))
    .description("make the cluster have what files say: networks, policies, reservations, labels, drained nodes")
    .requiredOption("-f, --file <FILE>", "YAML or JSON, any number of documents; - is stdin; repeatable", collectTexts)
    .option("--dry-run", "only say what would be done")
    .option("--diff", "show each field that changes")
    .option("--prune <KEY=VALUE>", "also delete networks with this label, and policies in them, that no file names")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      `
Applying it again changes nothing. It stops at the first failure, says what was done and what was not, and exits with 1.

Example:
  $ slimfast apply -f - --dry-run --diff <<END
  kind: Network
  name: blue
  prefix: 10.40.0.0/16
  defaultDeny: true
  ---
  kind: Policy
  network: blue
  name: web
  action: allow
  from: [{labels: {app: front}}]
  to: [{labels: {app: web}}]
  ports: [80, 8000-8010]
  END`,
    )
    .action(async (options) => (await import("../commands/apply.js")).apply(options));
  remote(program.command("export"))
    .description("print what the cluster has, as `slimfast apply` reads it")
    .option("--network <NAME>", "only this network and its policies")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExample:\n  $ slimfast export >cluster.yaml && slimfast apply -f cluster.yaml")
    .action(async (options) => (await import("../commands/apply.js")).exportCluster(options));
}

export function addToolCommands(program: Command): void {
  program
    .command("completion")
    .description("print a shell's completion script")
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .addHelpText("after", "\nExamples:\n  $ source <(slimfast completion bash)\n  $ slimfast completion fish | source")
    .action(async (shell) => (await import("../commands/completion.js")).completion(shell, program));
  remote(program.command("bundle"))
    .description("collect what support needs in one archive: state, versions, kernel facts, logs; no secrets")
    .option("--output <FILE>", "the archive (default: slimfast-bundle-TIME.tar.gz in this directory)")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/bundle.js")).bundle(options));
  // For docs/cli.md.
  program
    .command("reference <file>", { hidden: true })
    .description("write the command reference into a document")
    .action(async (file: string) => (await import("../commands/reference.js")).writeReference(file, program));
}
