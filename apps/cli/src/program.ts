/**
 * The command line's grammar and help. Commands are loaded when they are called, so that `--help` does not wait for gRPC.
 */
import { Command, Option } from "commander";
import { CliError } from "./exit-codes.js";
import { addAccessCommands } from "./grammar/access.js";
import { addFileCommands, addOperationsCommands, addToolCommands } from "./grammar/operations.js";
import { JSON_OPTION } from "./grammar/options.js";
import {
  addEndpointCommands,
  addNetworkCommands,
  addNodeCommands,
  addPolicyCommands,
  addPortCommands,
} from "./grammar/resources.js";

export const CLI_VERSION = "0.1.0";

const EXIT_CODES = `
Exit codes:
  0    success
  1    failed; stderr says why and what to do
  2    wrong usage
  3    no cluster is up on this machine
  4    a cluster is up already, or is being started or stopped
  125  "run" itself failed; otherwise "run" ends as its command did (128 + n after signal n)
  130  ended by Ctrl-C

Environment:
  SLIMFAST_SERVER      controller to talk to, as --server; likewise SLIMFAST_TOKEN and SLIMFAST_CA
  SLIMFAST_CONFIG      configuration file instead of ~/.config/slimfast/config.yaml
  SLIMFAST_RUN_DIR     run directory instead of /run/slimfast; clusters with different ones do not meet
  SLIMFAST_SKIP_SETUP  do not look whether anything has to be installed or built
  SLIMFAST_DEBUG       show stack traces`;

export function createProgram(): Command {
  const program = new Command("slimfast")
    .description("A container overlay network whose TCP runs on host sockets.")
    .version(CLI_VERSION)
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("(add --help for usage)")
    .configureHelp({ showGlobalOptions: false })
    .addHelpText(
      "after",
      `
Start here:
  $ slimfast demo                                       everything at once, and the commands to try next
  $ slimfast up --detach                                a cluster of two nodes on this machine
  $ slimfast run --node node-2 --name web -- python3 -m http.server 80
  $ slimfast run --node node-1 -- curl http://10.32.0.1/
  $ slimfast connections --follow
  $ slimfast down

Set-up, which every command does by itself: slimfast setup, slimfast build
${EXIT_CODES}`,
    );
  addClusterCommands(program);
  addWorkloadCommands(program);
  addOperationsCommands(program);
  addNodeCommands(program);
  addNetworkCommands(program);
  addEndpointCommands(program);
  addPortCommands(program);
  addPolicyCommands(program);
  addFileCommands(program);
  addAccessCommands(program);
  addToolCommands(program);
  addDevelopmentCommands(program);
  return program;
}

function addClusterCommands(program: Command): void {
  program
    .command("up")
    .description("start a cluster on this machine: N nodes, each a network namespace with an agent, and a controller")
    .option("--nodes <N>", "number of nodes, named node-1, node-2, ...", "2")
    .option("--detach", "leave it running and return")
    .option("--tls", "let the agents join over TLS, each with a token of its own, as on machines of their own")
    .option("--front-ports <FIRST:COUNT>", "host ports that each node reserves for the overlay", "7000:16")
    .option("--endpoint-limits <LIMITS>", "what each endpoint may have: sockets=N,listeners=N,connects=N (a second)")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nWithout --detach it stays until Ctrl-C and then removes everything.\n\nExamples:\n  $ slimfast up --nodes 3 --detach\n  $ slimfast up --front-ports 20000:32",
    )
    .action(async (options) => (await import("./commands/up.js")).up(options));

  program
    .command("down")
    .description("end the cluster and remove every trace of it, also of one that crashed")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("./commands/down.js")).down(options));

  program
    .command("console")
    .description("print where the web console is, and a token to log in with")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("./commands/console.js")).consoleLogin(options));

  program
    .command("status")
    .description("show nodes, networks and endpoints")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExits with 3 if no cluster is up, with 1 if a part of it does not answer.")
    .action(async (options) => (await import("./commands/status.js")).status(options));

  program
    .command("doctor")
    .description("check whether this machine can run SlimFast, and say how to fix what is missing")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExits with 1 if something is missing without which no cluster can start.")
    .action(async (options) => (await import("./commands/doctor.js")).doctor(options));

  // Its options are its own: `main.ts` hands them over before they are looked at here.
  program
    .command("agent")
    .description("run the agent of this machine's node; `slimfast node join-command` prints how")
    .helpOption(false)
    .allowUnknownOption()
    .argument("[options...]", "the agent's own, see slimfast agent --help");

  // For `down`, which starts it inside the node's network namespace.
  program
    .command("recover-node <runDir>", { hidden: true })
    .action(async (runDir: string) => (await import("./commands/recover-node.js")).recoverNode(runDir));
}

function addWorkloadCommands(program: Command): void {
  program
    .command("run")
    .description("run a command in an endpoint of its own")
    .argument("<command...>", "the command and its arguments")
    .option("--node <NAME>", "node to run on (default: the first one)")
    .option("--network <NAME>", "network to attach to", "default")
    .option("--name <NAME>", "name of the endpoint (default: made up)")
    .addOption(
      new Option("--tier <TIER>", "how its sockets become host sockets")
        .choices(["auto", "notify", "preload", "plain"])
        .default("auto"),
    )
    .option("--address <ADDRESS>", "IPv4 overlay address that it is to have (default: a free one)")
    .option("--address6 <ADDRESS>", "IPv6 overlay address that it is to have (default: a free one)")
    .option("--publish <HOST:PORT>", "lead a host port of the node to a port of the command; repeatable", collect, [])
    .passThroughOptions()
    .addHelpText(
      "after",
      `
The endpoint lives as long as the command. stdin, stdout, stderr and the terminal are the command's own; signals go to
it, and its exit code is the exit code.

Tiers: preload is faster and needs a dynamically linked program; notify serves every program; auto uses preload where
it can, with notify beneath it. plain: not accelerated, sockets of its own namespace over the VXLAN overlay.

Examples:
  $ slimfast run --node node-2 --name web -- nginx -g 'daemon off;'
  $ slimfast run --node node-1 -- curl -v http://10.32.0.1/
  $ slimfast run --publish 8080:80 -- python3 -m http.server 80
  $ slimfast run -- bash`,
    )
    .action(async (command: string[], options) => (await import("./commands/run.js")).run(command, options));

  program
    .command("oci-profile")
    .description("merge SlimFast's seccomp rules into a runtime's profile, and print it")
    .argument(
      "[file]",
      "linux.seccomp as JSON, or a bundle's config.json; - is stdin (default: a base profile of its own)",
    )
    .requiredOption("--listener-path <PATH>", "the agent's socket: seccompSocket in `slimfast status --json`")
    .requiredOption("--listener-metadata <TEXT>", "of the endpoint: listenerMetadata in the answer that attached it")
    .addHelpText(
      "after",
      "\nThe container's TCP sockets then come from the agent, and it cannot use io_uring. What else the profile allows or denies stays as it is.\n\nExample:\n  $ slimfast oci-profile config.json --listener-path /run/slimfast/node-1/seccomp.sock --listener-metadata slimfast/1/7 > merged.json",
    )
    .action(async (file, options) => (await import("./commands/oci-profile.js")).ociProfile(file, options));
}

function addDevelopmentCommands(program: Command): void {
  program
    .command("demo")
    .description("bring up a cluster, run real programs on it, check and measure, and stay to be tried out")
    .option("--once", "end after the checks; exit code 0 only if everything worked")
    .option("--json", "print one object: ok, checks, setup")
    .action(async (options) => (await import("./commands/demo.js")).demo(options));

  const bench = addBenchSuite(program);
  bench
    .command("setup")
    .description("time of connection setup: host network, VXLAN, notify and preload, in interleaved rounds")
    .option("--rounds <N>", "rounds; medians over them are shown", "5")
    .option("--connections <N>", "connections per configuration and round", "2000")
    .option("--requests <N>", "also round trips on one connection, per configuration and round; 0 for none", "5000")
    .option("--bulk-seconds <S>", "also throughput, this long per configuration and round; 0 for none", "1")
    .option("--pin <WHERE>", "client and server on the same CPU, apart, or none: left to the scheduler", "same")
    .option("--hook-rounds <N>", "also what the BPF programs cost, medians over so many rounds; 0 for none", "3")
    .option("--leak-connections <N>", "also what so many connections leave behind; 0 for none", "10000")
    .option("--full", "100,000 connections in the search for leaks")
    .option("--check", "end with exit code 1 if a target is missed")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nBrings up a cluster of its own beside the machine's, and removes it.\n\nExample:\n  $ slimfast bench setup --rounds 9 --connections 5000 --json",
    )
    .action(async (options) => (await import("./commands/bench.js")).benchSetup(options));
  bench
    .command("control")
    .description("how fast a controller tells its agents of changes, with real streams, and what that costs")
    .option("--agents <N>", "agents, each on a connection of its own", "1000")
    .option("--networks <N>", "networks", "50")
    .option("--endpoints <N>", "endpoints, evenly over networks and agents", "50000")
    .option("--networks-per-agent <N>", "networks in which each agent's node has endpoints", "1")
    .option("--changes <N>", "changes per second: endpoints that come and go", "100")
    .option("--seconds <S>", "how long they are measured", "20")
    .option("--joins <N>", "nodes that join meanwhile, one after the other", "10")
    .option("--generators <N>", "processes that are the agents (default: one for every 1,500 agents, up to the CPUs)")
    .option("--store <STORE>", "the controller's store, as its --store (default: SQLite in a directory of its own)")
    .option("--check", "end with exit code 1 if a target is missed")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nStarts a controller of its own, and the load in further processes. Needs no root.\n\nExamples:\n  $ slimfast bench control --check\n  $ slimfast bench control --agents 5000 --json",
    )
    .action(async (options) => (await import("./commands/bench-control.js")).benchControl(options));

  program
    .command("test")
    .description("run the project's tests")
    .argument("[suites...]", "suites to run (default: all)")
    .option("--list", "name the suites")
    .option("--full", "also what takes too long for every day: more modules of python")
    .option("--jobs <N>", "how many parts of suites run at a time (default: as many as CPUs, at most 4)")
    .option("--json", "print JSON: one object with the results")
    .addHelpText(
      "after",
      '\nThe last line of the output is "N passed, N failed"; exit code 1 if any failed.\n\nExamples:\n  $ slimfast test --list\n  $ slimfast test unit lint',
    )
    .action(async (suites: string[], options) => (await import("./commands/test.js")).test(suites, options));
}

function addBenchSuite(program: Command): Command {
  return program
    .command("bench")
    .description("compare SlimFast with other networks on real programs, in interleaved rounds")
    .enablePositionalOptions()
    .argument("[scenarios...]", "scenarios to run, or cases as SCENARIO.CASE (default: all)")
    .option("--list", "name the scenarios, their cases and the networks")
    .option("--against <NETWORKS>", "networks, separated by commas (default: all)")
    .option("--rounds <N>", "rounds; medians over them are shown (default: 1 for quick, 7 for full)")
    .option("--profile <PROFILE>", "full, or quick: whether it works, not how fast", "full")
    .option("--json <FILE>", "write the result with every sample; - for stdout")
    .option("--report <DIR>", "write a page with plots, the plots as files, and the raw data")
    .option("--compare <FILE>", "say what has changed since that result, beyond noise")
    .option("--check", "end with exit code 1 if a target is missed")
    .addHelpText(
      "after",
      `
Networks: host, vxlan, slim, slimfast-notify, slimfast-preload. Brings up a cluster of its own beside the machine's, and
removes it. Missing programs of a scenario are installed.

Examples:
  $ slimfast bench --list
  $ slimfast bench nginx-proxy memcached --rounds 9 --report out
  $ slimfast bench crr --against host,slimfast-preload --json new.json --compare old.json`,
    )
    .action(async (scenarios: string[], options) =>
      (await import("./commands/bench-suite.js")).benchSuite(scenarios, options),
    );
}

function collect(value: string, earlier: string[]): string[] {
  if (value === "") throw new CliError("usage", "--publish: empty");
  return [...earlier, value];
}
