/** Policies, with real programs on two nodes: who gets through, what the others see, and what happens when one changes. */
import { kill } from "node:process";
import { type ConnectionEvent, ConnectionEventKind, Verdict } from "@slimfast/proto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";

const PORT = 80;
const OTHER_PORT = 8_080;
const CLOSED = "closed";

/**
 * Does what it reads, line by line, and prints a line for each: `try TARGET` connects, `hold TARGET` keeps the connection
 * as well, `read` waits for the end of what is held. The socket for the next line exists before it comes, so that it does
 * not need the agent.
 */
const CLIENT = `
import errno, socket, sys
def fresh():
    s = socket.socket()
    s.settimeout(20)
    return s
held, s = None, fresh()
print("ready", flush=True)
for line in sys.stdin:
    word, _, target = line.strip().partition(" ")
    outcome = "ok"
    try:
        if word == "read":
            while held.recv(4096): pass
        else:
            host, port = target.split(":")
            s.connect((host, int(port)))
            s.recv(4096)
            if word == "hold": held = s
            else: s.close()
    except OSError as failure: outcome = errno.errorcode.get(failure.errno, "timeout")
    print("%s %s" % (line.strip(), outcome), flush=True)
    if word != "read": s = fresh()
`;

class Client {
  readonly program: Background;
  #read = 0;

  constructor(program: Background) {
    this.program = program;
  }

  static async start(cluster: Cluster, name: string, options: { node?: string; network?: string } = {}) {
    const ready = { prints: /^ready$/m };
    return new Client(await cluster.start({ node: "node-1", name, ready, ...options }, ["python3", "-c", CLIENT]));
  }

  /** "ok", or the name of the errno. */
  async ask(line: string): Promise<string> {
    this.#read += 1;
    this.program.write(`${line}\n`);
    const answer = await until(
      () => this.program.stdout.split("\n").slice(0, -1)[this.#read],
      `${this.program.name} answers ${line}`,
      40_000,
    );
    return answer.slice(line.length + 1);
  }

  connect(server: Background, port = PORT): Promise<string> {
    return this.ask(`try ${server.address}:${port}`);
  }

  /** A change is in force when the nodes have heard of it: soon, but not at once. */
  async comesTo(expected: string, server: Background, port = PORT): Promise<void> {
    await until(async () => (await this.connect(server, port)) === expected, `${expected} from port ${port}`);
  }
}

let cluster: Cluster;
let server: Background;
let other: Background;
let client: Client;
let second: Client;
const policies = new Map<string, string>();

async function policy(name: string, ...options: string[]): Promise<void> {
  policies.set(name, options.includes("--network") ? CLOSED : "default");
  await cluster.cli.json("policy", "create", name, ...options);
}

async function withdraw(name: string): Promise<void> {
  const network = policies.get(name) ?? "default";
  policies.delete(name);
  await cluster.cli.json("policy", "delete", name, "--network", network);
}

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", CLOSED, "--prefix", "10.40.0.0/16", "--default-deny");
  const options = { node: "node-2", ready: SERVER_READY };
  server = await cluster.start({ ...options, name: "server" }, peerServer(PORT, "server"));
  other = await cluster.start({ ...options, name: "other" }, peerServer(OTHER_PORT, "other"));
  client = await Client.start(cluster, "client");
  second = await Client.start(cluster, "second");
  await cluster.cli.json("endpoint", "label", "client", "app=shop");
  await cluster.cli.json("endpoint", "label", "server", "app=store");
}, 120_000);
afterEach(async () => {
  for (const name of [...policies.keys()]) await withdraw(name);
});
afterAll(() => cluster?.stop());

describe("a policy that denies", () => {
  // Each end hears for itself that the policy of the test before is gone.
  beforeEach(() => client.comesTo("ok", server));

  it("by labels: EPERM for whom it means, nothing for others, and all is as before when it is gone", async () => {
    await policy("no-shop", "--action", "deny", "--from", "app=shop", "--to", "app=store");
    await client.comesTo("EPERM", server);
    expect(await client.connect(other, OTHER_PORT)).toBe("ok");
    expect(await second.connect(server)).toBe("ok");
    await withdraw("no-shop");
    await client.comesTo("ok", server);
  });

  it("by prefix, by name and by port", async () => {
    await policy("no-client", "--action", "deny", "--from", `${client.program.address}/32`, "--to", "@server");
    await client.comesTo("EPERM", server);
    expect(await second.connect(server)).toBe("ok");
    await withdraw("no-client");
    await client.comesTo("ok", server);
    await policy("no-http", "--action", "deny", "--port", `${PORT}-${PORT + 9}`);
    await client.comesTo("EPERM", server);
    expect(await client.connect(other, OTHER_PORT)).toBe("ok");
  });

  it("wins over one that allows, and on the same node as well", async () => {
    const near = await Client.start(cluster, "near", { node: "node-2" });
    try {
      await policy("all", "--action", "allow");
      await policy("none", "--action", "deny", "--to", "@server");
      await near.comesTo("EPERM", server);
      await client.comesTo("EPERM", server);
    } finally {
      await near.program.stop();
    }
  });

  it("follows the labels of endpoints", async () => {
    await policy("no-shop", "--action", "deny", "--from", "app=shop", "--to", "@server");
    await client.comesTo("EPERM", server);
    await cluster.cli.json("endpoint", "label", "client", "app=office");
    await client.comesTo("ok", server);
    await cluster.cli.json("endpoint", "label", "client", "app=shop");
    await client.comesTo("EPERM", server);
  });

  it("cuts what is established, and nothing else", async () => {
    expect(await client.ask(`hold ${server.address}:${PORT}`)).toBe("ok");
    expect(await second.ask(`hold ${server.address}:${PORT}`)).toBe("ok");
    const reading = client.ask("read");
    await policy("no-shop", "--action", "deny", "--from", "app=shop");
    expect(await reading).toMatch(/^(ECONNRESET|ECONNABORTED|ok)$/);
    await until(async () => {
      const { connections } = await cluster.agent("node-1").local.listConnections({});
      const held = connections.map(({ endpoint, verdict }) => `${endpoint} ${Verdict[verdict]}`);
      return held.join() === "second VERDICT_ALLOWED";
    }, "one connection is left, the other one's");
  });

  it("is told of: the event has the error, the verdict and the policy", async () => {
    const events: ConnectionEvent[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      const stream = cluster.agent("node-1").local.watchConnectionEvents({}, { signal: stop.signal });
      for await (const batch of stream) events.push(...batch.events);
    })().catch(() => undefined);
    try {
      await policy("no-shop", "--action", "deny", "--from", "app=shop");
      const denied = await until(async () => {
        await client.connect(server);
        return events.find(({ error }) => error === "EPERM");
      }, "an event of the denial");
      expect(denied).toMatchObject({
        kind: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED,
        connection: { endpoint: "client", peerEndpoint: "server", verdict: Verdict.VERDICT_DENIED, policy: "no-shop" },
      });
    } finally {
      stop.abort();
      await watching;
    }
  });

  it("holds against a node that has not heard of it: the listening end answers with a reset", async () => {
    // Tells when the listening end has heard.
    const near = await Client.start(cluster, "near", { node: "node-2" });
    await cluster.cli.json("endpoint", "label", "near", "app=shop");
    const { pid } = await cluster.agent("node-1").local.getStatus({});
    kill(pid, "SIGSTOP");
    try {
      await policy("no-shop", "--action", "deny", "--from", "app=shop");
      await near.comesTo("EPERM", server);
      expect(await client.connect(server)).toBe("ECONNREFUSED");
    } finally {
      kill(pid, "SIGCONT");
      await near.program.stop();
    }
    await client.comesTo("EPERM", server);
  });

  it("says nothing of UDP", async () => {
    await policy("nothing", "--action", "deny");
    await client.comesTo("EPERM", server);
    const output = await cluster.output({ node: "node-1" }, peerClient([`udp/${server.address}:${PORT}`]));
    expect(readReports(output)).toMatchObject([{ error: null, answer: { label: "server" } }]);
  });
});

describe("a network that denies by default", () => {
  const network = ["--network", CLOSED];
  const ALLOW = ["--action", "allow", "--from", "app=shop", "--to", "@inside", ...network];

  describe.each([
    ["another node", "node-1"],
    ["the same node", "node-2"],
  ])("from %s", (_, node) => {
    it("denies at the connecting end, lets through what is allowed, and cuts what is not any more", async () => {
      const options = { network: CLOSED, ready: SERVER_READY };
      const inside = await cluster.start({ ...options, node: "node-2", name: "inside" }, peerServer(PORT, "inside"));
      const asking = await Client.start(cluster, "asking", { network: CLOSED, node });
      const hasNone = async () => {
        const all = await cluster.agent(node).local.listConnections({});
        return all.connections.every(({ endpoint }) => endpoint !== "asking");
      };
      try {
        expect(await asking.connect(inside)).toBe("EPERM");
        await cluster.cli.json("endpoint", "label", "asking", "app=shop", ...network);
        await policy("in", ...ALLOW);
        await asking.comesTo("ok", inside);
        expect(await asking.ask(`hold ${inside.address}:${PORT}`)).toBe("ok");
        const reading = asking.ask("read");
        await withdraw("in");
        expect(await reading).toMatch(/^(ECONNRESET|ECONNABORTED|ok)$/);
        await until(hasNone, "the connection is gone");
        expect(await asking.connect(inside)).toBe("EPERM");
      } finally {
        await asking.program.stop();
        await inside.stop();
      }
    });
  });

  it("denies at the listening end, where the connecting node has not heard of it", async () => {
    const options = { network: CLOSED, ready: SERVER_READY };
    const inside = await cluster.start({ ...options, node: "node-2", name: "inside" }, peerServer(PORT, "inside"));
    const asking = await Client.start(cluster, "asking", { network: CLOSED });
    // Tells when the listening end has heard.
    const near = await Client.start(cluster, "near", { network: CLOSED, node: "node-2" });
    const { pid } = await cluster.agent("node-1").local.getStatus({});
    let isStopped = false;
    try {
      for (const name of ["asking", "near"]) await cluster.cli.json("endpoint", "label", name, "app=shop", ...network);
      await policy("in", ...ALLOW);
      await asking.comesTo("ok", inside);
      await near.comesTo("ok", inside);
      kill(pid, "SIGSTOP");
      isStopped = true;
      await withdraw("in");
      await near.comesTo("EPERM", inside);
      expect(await asking.connect(inside)).toBe("ECONNREFUSED");
      kill(pid, "SIGCONT");
      isStopped = false;
      await asking.comesTo("EPERM", inside);
    } finally {
      if (isStopped) kill(pid, "SIGCONT");
      for (const { program } of [asking, near]) await program.stop();
      await inside.stop();
    }
  });

  it("lets through what a policy allows, and an endpoint always reaches itself", async () => {
    const options = { network: CLOSED, ready: SERVER_READY };
    const inside = await cluster.start({ ...options, node: "node-2", name: "inside" }, peerServer(PORT, "inside"));
    const asking = await Client.start(cluster, "asking", { network: CLOSED });
    try {
      expect(await asking.connect(inside)).toBe("EPERM");
      const network = ["--network", CLOSED];
      await policy("in", "--action", "allow", "--from", "@asking", "--to", "@inside", "--port", `${PORT}`, ...network);
      await asking.comesTo("ok", inside);
      expect(await asking.connect(inside, OTHER_PORT)).toBe("EPERM");
      await withdraw("in");
      await asking.comesTo("EPERM", inside);
      // Nobody listens there, which is for the endpoint itself to say.
      expect(await asking.ask(`try ${asking.program.address}:${PORT}`)).toBe("ECONNREFUSED");
    } finally {
      await asking.program.stop();
      await inside.stop();
    }
  });
});
