/** Grammar of the commands about the cluster's desired state: nodes, networks, endpoints, ports, policies, files. */
import { type Command, Option } from "commander";
import { collectTexts, JSON_OPTION, listing, remote } from "./options.js";

const SELECTORS = `
Selectors are KEY=VALUE labels, an IPv4 or IPv6 prefix and @ENDPOINT, joined by commas (all must hold), or "all". --from and --to
may be repeated: any of them will do.`;

export function addNodeCommands(program: Command): void {
  const node = program.command("node").description("list, drain, label and forget nodes");
  listing(node.command("list"))
    .description("list the nodes")
    .addHelpText(
      "after",
      "\nExamples:\n  $ slimfast node list --filter 'connected = false'\n  $ slimfast node list --watch",
    )
    .action(async (options) => {
      const [{ listResources }, { NODES }] = await load();
      await listResources(NODES, options);
    });
  remote(node.command("get"))
    .description("show one node")
    .argument("<name>", "the node")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/node.js")).getNode(name, options));
  remote(node.command("drain"))
    .description("create no more endpoints on it; those that are there stay")
    .argument("<name>", "the node")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExample:\n  $ slimfast node drain node-2")
    .action(async (name, options) => {
      const { NodeState } = await import("@slimfast/proto");
      await (await import("../commands/node.js")).setNodeState(name, NodeState.NODE_STATE_DRAINING, options);
    });
  remote(node.command("undrain"))
    .description("create endpoints on it again")
    .argument("<name>", "the node")
    .option(...JSON_OPTION)
    .action(async (name, options) => {
      const { NodeState } = await import("@slimfast/proto");
      await (await import("../commands/node.js")).setNodeState(name, NodeState.NODE_STATE_ACTIVE, options);
    });
  remote(node.command("label"))
    .description("set and remove labels")
    .argument("<name>", "the node")
    .argument("<labels...>", "KEY=VALUE sets, KEY- removes")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExample:\n  $ slimfast node label node-1 zone=a rack-")
    .action(async (name, labels, options) => (await import("../commands/node.js")).labelNode(name, labels, options));
  remote(node.command("delete"))
    .description("forget a node that is gone, with its endpoints and reservations")
    .argument("<name>", "the node; its agent must not be connected")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/node.js")).deleteNode(name, options));
  remote(node.command("join-command"))
    .description("make a join token, and print the command that makes a machine a node with it")
    .argument("<name>", "name of the new node")
    .requiredOption("--underlay <ADDRESS>", "IPv4 address of that machine that other nodes reach")
    .option("--expires <DURATION>", "how long the token is valid", "1h")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nThe controllers have to listen with --tls. The token is for one node, and is shown only this once.\n\nExample:\n  $ slimfast node join-command node-7 --underlay 192.0.2.7",
    )
    .action(async (name, options) => (await import("../commands/join.js")).joinCommand(name, options));
  remote(node.command("revoke"))
    .description("end the rights of a node's certificates at once: its streams end, and it has to join again")
    .argument("<name>", "the node")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/join.js")).revokeNode(name, options));
}

export function addNetworkCommands(program: Command): void {
  const network = program.command("network").description("create, change, list and delete networks");
  listing(network.command("list"))
    .description("list the networks")
    .action(async (options) => {
      const [{ listResources }, { NETWORKS }] = await load();
      await listResources(NETWORKS, options);
    });
  remote(network.command("get"))
    .description("show one network")
    .argument("<name>", "the network")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/network.js")).getNetwork(name, options));
  remote(network.command("create"))
    .description("create a network")
    .argument("<name>", "a DNS label")
    .option("--prefix <CIDR>", "IPv4 prefix of its overlay addresses, /8 to /29, for example 10.40.0.0/16")
    .option("--prefix6 <CIDR>", "IPv6 prefix, /48 to /120, for example fd00:40::/64; beside the IPv4 one or alone")
    .option("--vni <N>", "network id, 1 to 16777215 (default: chosen)")
    .option("--description <TEXT>", "what it is for")
    .option("--label <KEY=VALUE>", "label; repeatable", collectTexts)
    .option("--default-deny", "deny connections that no policy allows")
    .option(
      "--egress <CIDR>",
      "range outside of the overlay that its endpoints may connect to; repeatable",
      collectTexts,
    )
    .option("--node-subnets <LENGTH>", "give every node an IPv4 subnet of this length, for example 24")
    .option("--node-subnets6 <LENGTH>", "give every node an IPv6 subnet of this length, for example 80")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nExamples:\n  $ slimfast network create blue --prefix 10.40.0.0/16 --default-deny --label team=a\n  $ slimfast network create six --prefix6 fd00:40::/64",
    )
    .action(async (name, options) => (await import("../commands/network.js")).createNetwork(name, options));
  remote(network.command("update"))
    .description(
      "change description, labels, what is done with connections that no policy names, or where they may leave to",
    )
    .argument("<name>", "the network")
    .option("--description <TEXT>", "what it is for")
    .option("--label <KEY=VALUE>", "set a label, or remove it with KEY-; repeatable", collectTexts)
    .option("--default-deny", "deny connections that no policy allows")
    .option("--no-default-deny", "allow them")
    .option(
      "--egress <CIDR>",
      "replace the ranges outside that it may connect to; repeatable; none: no range",
      collectTexts,
    )
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/network.js")).updateNetwork(name, options));
  remote(network.command("delete"))
    .description("delete a network and its policies")
    .argument("<name>", "the network; it must have no endpoints")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/network.js")).deleteNetwork(name, options));
}

export function addEndpointCommands(program: Command): void {
  const endpoint = program.command("endpoint").description("list and label endpoints");
  listing(endpoint.command("list"))
    .description("list the endpoints")
    .option("--network <NAME>", "only those of this network")
    .option("--node <NAME>", "only those on this node")
    .addHelpText("after", "\nExample:\n  $ slimfast endpoint list --node node-1 --filter 'labels.app = \"web\"'")
    .action(async (options) => {
      const [{ listResources }, { ENDPOINTS }] = await load();
      await listResources(ENDPOINTS, options);
    });
  remote(endpoint.command("get"))
    .description("show one endpoint")
    .argument("<name>", "the endpoint")
    .option("--network <NAME>", "its network", "default")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/endpoint.js")).getEndpoint(name, options));
  remote(endpoint.command("label"))
    .description("set and remove labels; policies go by them")
    .argument("<name>", "the endpoint")
    .argument("<labels...>", "KEY=VALUE sets, KEY- removes")
    .option("--network <NAME>", "its network", "default")
    .option(...JSON_OPTION)
    .addHelpText("after", "\nExample:\n  $ slimfast endpoint label web app=web tier=front")
    .action(async (name, labels, options) =>
      (await import("../commands/endpoint.js")).labelEndpoint(name, labels, options),
    );
}

export function addPortCommands(program: Command): void {
  const port = program.command("port").description("host ports of the nodes: who has them, and reserving them");
  listing(port.command("list"))
    .description("list what is reserved: front ports, published ports, static reservations")
    .option("--node <NAME>", "only those of this node")
    .option("--strip", "draw each node's ports")
    .action(async (options) => (await import("../commands/port.js")).listPorts(options));
  remote(port.command("reserve"))
    .description("reserve ports of a node for something else")
    .argument("<name>", "name of the reservation, a DNS label")
    .requiredOption("--node <NAME>", "the node")
    .option("--ports <PORTS>", "a port or FIRST-LAST")
    .option("--count <N>", "any free block of this size")
    .option("--lease <DURATION>", "how long, for example 12h (default: for ever)")
    .option("--description <TEXT>", "what for")
    .option(...JSON_OPTION)
    .addHelpText(
      "after",
      "\nExamples:\n  $ slimfast port reserve prometheus --node node-1 --ports 9090\n  $ slimfast port reserve job-7 --node node-1 --count 10 --lease 12h",
    )
    .action(async (name, options) => (await import("../commands/port.js")).reservePorts(name, options));
  remote(port.command("extend"))
    .description("let a reservation end later")
    .argument("<name>", "the reservation")
    .requiredOption("--lease <DURATION>", "how long from now, for example 12h; or forever")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/port.js")).extendPorts(name, options));
  remote(port.command("release"))
    .description("end a reservation")
    .argument("<name>", "the reservation")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/port.js")).releasePorts(name, options));
  remote(port.command("free"))
    .description("show which blocks of a node are free")
    .requiredOption("--node <NAME>", "the node")
    .option("--count <N>", "size of the block", "1")
    .option(...JSON_OPTION)
    .action(async (options) => (await import("../commands/port.js")).freePorts(options));
}

export function addPolicyCommands(program: Command): void {
  const policy = program.command("policy").description("who may connect to whom");
  listing(policy.command("list"))
    .description("list the policies")
    .option("--network <NAME>", "only those of this network")
    .action(async (options) => {
      const [{ listResources }, { POLICIES }] = await load();
      await listResources(POLICIES, options);
    });
  remote(policy.command("get"))
    .description("show one policy")
    .argument("<name>", "the policy")
    .option("--network <NAME>", "its network", "default")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/policy.js")).getPolicy(name, options));
  policyFields(remote(policy.command("create")))
    .description("create a policy; connections that it denies are cut")
    .addHelpText(
      "after",
      `${SELECTORS}\n\nExample:\n  $ slimfast policy create web --action allow --from app=front --to app=web --port 80,8000-8010`,
    )
    .action(async (name, options) => (await import("../commands/policy.js")).createPolicy(name, options));
  policyFields(remote(policy.command("update")))
    .description("change what is given; the rest stays")
    .addHelpText("after", SELECTORS)
    .action(async (name, options) => (await import("../commands/policy.js")).updatePolicy(name, options));
  remote(policy.command("delete"))
    .description("delete a policy")
    .argument("<name>", "the policy")
    .option("--network <NAME>", "its network", "default")
    .option(...JSON_OPTION)
    .action(async (name, options) => (await import("../commands/policy.js")).deletePolicy(name, options));
  policyFields(remote(policy.command("try")))
    .description("say what a policy would do to live and recent connections; changes nothing")
    .option("--deleted", "what would be without the policy of this name")
    .addHelpText("after", `${SELECTORS}\n\nExample:\n  $ slimfast policy try no-ssh --action deny --port 22`)
    .action(async (name, options) => (await import("../commands/policy.js")).tryPolicy(name, options));
}

function policyFields(command: Command): Command {
  return command
    .argument("<name>", "name of the policy, a DNS label")
    .option("--network <NAME>", "its network", "default")
    .addOption(new Option("--action <ACTION>", "what is done with such connections").choices(["allow", "deny"]))
    .option("--from <SELECTOR>", "who connects; repeatable (default when created: all)", collectTexts)
    .option("--to <SELECTOR>", "who listens; repeatable (default when created: all)", collectTexts)
    .option(
      "--port <PORTS>",
      "ports of the listener, FIRST-LAST, or all; repeatable (default when created: all)",
      collectTexts,
    )
    .option("--description <TEXT>", "what for")
    .option(...JSON_OPTION);
}

function load() {
  return Promise.all([import("../resources/list.js"), import("../resources/views.js")]);
}
