/**
 * The agent as a process, with the real core and the real controller, in a namespace and a cgroup of its own: what it
 * prints, how it ends, what it refuses, and that nothing is left. Needs root; never skipped.
 */
import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type AgentClient, type ControllerClient, connectAgent, connectController } from "@slimfast/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment } from "./testing/agent.js";
import { type Program, TestHost } from "./testing/agent-process.js";
import { eventually } from "./testing/eventually.js";

// Starting loads and verifies BPF programs, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let host: TestHost;
let controller: Program;
const clients: { close(): void }[] = [];

beforeEach(() => {
  host = new TestHost();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await host?.remove();
});

function connect(): AgentClient {
  const client = connectAgent({ address: `unix:${host.runDir}/agent.sock` });
  clients.push(client);
  return client;
}

function connectToController(): ControllerClient {
  const client = connectController({ address: host.controllerAddress });
  clients.push(client);
  return client;
}

async function createNetwork(): Promise<void> {
  await connectToController().cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
}

/** An agent that is up, with the endpoint blue/web. */
async function startWithEndpoint(): Promise<Program> {
  controller = await host.startController();
  await createNetwork();
  const agent = host.startAgent();
  expect(await agent.ready, agent.stderr()).toBeDefined();
  await connect().local.attachEndpoint(attachment("web"));
  return agent;
}

describe("the process", () => {
  it("says in one line that it serves, and ends with 0 on SIGTERM, leaving nothing", async () => {
    await host.startController();
    const agent = host.startAgent();
    expect(await agent.ready).toEqual({
      ready: true,
      node: host.node,
      socket: `${host.runDir}/agent.sock`,
      seccompSocket: `${host.runDir}/seccomp.sock`,
    });
    expect(statSync(`${host.runDir}/agent.sock`).mode & 0o777).toBe(0o600);
    expect(statSync(`${host.runDir}/seccomp.sock`).mode & 0o777).toBe(0o600);
    expect(statSync(host.runDir).mode & 0o777).toBe(0o700);
    expect(host.traces()).not.toEqual([]);
    agent.child.kill("SIGTERM");
    const { code, stdout, stderr } = await agent.exit;
    expect(code, stderr).toBe(0);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    for (const line of stderr.trimEnd().split("\n")) expect(JSON.parse(line)).toMatchObject({ name: "agent" });
    expect(host.traces()).toEqual([]);
    expect(host.files()).toEqual([]);
  });

  it("takes its endpoints along on SIGINT, here and on the controller", async () => {
    const agent = await startWithEndpoint();
    expect(host.traces()).toContain(`sf-${host.node}-blue-web`);
    agent.child.kill("SIGINT");
    const { code, stderr } = await agent.exit;
    expect(code, stderr).toBe(0);
    expect(host.traces()).toEqual([]);
    expect((await connectToController().cluster.listEndpoints({})).endpoints).toEqual([]);
  });

  it("does not wait for a controller that hangs", async () => {
    const agent = await startWithEndpoint();
    controller.child.kill("SIGSTOP");
    agent.child.kill("SIGTERM");
    const { code, stderr } = await agent.exit;
    expect(code, stderr).toBe(0);
    expect(host.traces()).toEqual([]);
  });

  it("ends at once when it is told twice; the next run undoes the rest", async () => {
    const agent = await startWithEndpoint();
    // So that the first signal takes its time.
    controller.child.kill("SIGSTOP");
    agent.child.kill("SIGTERM");
    await eventually(() => expect(agent.stderr()).toContain("stopping"));
    agent.child.kill("SIGINT");
    expect((await agent.exit).code).toBe(1);
    controller.child.kill("SIGCONT");
    const next = host.startAgent();
    expect(await next.ready, next.stderr()).toBeDefined();
    next.child.kill("SIGTERM");
    expect((await next.exit).code).toBe(0);
    expect(host.traces()).toEqual([]);
  });

  it.each(["SIGKILL", "SIGHUP"] as const)("takes over what a run that ended by %s has left", async (signal) => {
    const first = await startWithEndpoint();
    const before = await connect().local.listAttachedEndpoints({});
    first.child.kill(signal);
    await first.exit;
    expect(host.traces()).toContain(`sf-${host.node}-blue-web`);
    const second = host.startAgent();
    expect(await second.ready, second.stderr()).toBeDefined();
    expect(await connect().local.listAttachedEndpoints({})).toEqual(before);
    second.child.kill("SIGTERM");
    expect((await second.exit).code).toBe(0);
    expect(host.traces()).toEqual([]);
  });

  it("undoes what a killed run has left when it is to start afresh, and the controller forgets its endpoints", async () => {
    const first = await startWithEndpoint();
    first.child.kill("SIGKILL");
    await first.exit;
    const second = host.startAgent([...host.arguments(), "--fresh"]);
    expect(await second.ready, second.stderr()).toBeDefined();
    expect(host.traces()).not.toContain(`sf-${host.node}-blue-web`);
    const { local } = connect();
    expect((await local.getStatus({})).attachedEndpoints).toBe(0);
    await local.attachEndpoint(attachment("web"));
    second.child.kill("SIGTERM");
    expect((await second.exit).code).toBe(0);
    expect(host.traces()).toEqual([]);
  });

  it("explains itself, and refuses a wrong command line", async () => {
    const help = await host.startAgent(["--help"]).exit;
    expect(help.code).toBe(0);
    expect(help.stdout).toMatch(/--node.*--underlay.*--controller.*--front-ports/s);
    for (const [wrong, what] of [
      [[...host.arguments(), "--nonsense"], "--nonsense"],
      [["--underlay", "10.200.0.1"], "--node"],
      [["--node", "n"], "--underlay"],
      [[...host.arguments(), "--front-ports", "7000"], "FIRST:COUNT"],
      [[...host.arguments(), "--front-ports", "0:16"], "not a port"],
      [[...host.arguments(), "--vxlan-port", "70000"], "not a port"],
      [[...host.arguments(), "--log-level", "loud"], "loud"],
    ] as const) {
      const { code, stdout, stderr } = await host.startAgent([...wrong]).exit;
      expect(code, what).toBe(2);
      expect(stderr, what).toContain(what);
      expect(stdout).toBe("");
    }
    expect(existsSync(host.runDir)).toBe(false);
  });
});

describe("ports that operators have reserved on the node", () => {
  const RANGE = { first: 45_000, count: 4 };

  it("are kept from connections until they are released, while no agent runs as well, and go with the node", async () => {
    await host.startController();
    const { cluster } = connectToController();
    const agent = host.startAgent();
    expect(await agent.ready, agent.stderr()).toBeDefined();
    // Somebody else's are nobody's to take out.
    host.addReservedPorts("9999");
    const reserve = (name: string, ports: { first: number; count: number }) =>
      cluster.createPortReservation({ portReservation: { name, node: host.node, ports } });
    await reserve("backup", { first: 45_000, count: 2 });
    await reserve("metrics", { first: 45_003, count: 1 });
    await eventually(() => expect(host.reservedPorts()).toBe("7000-7015,9999,45000-45001,45003"));
    expect(host.portsOfConnections(RANGE)).toEqual([45_002]);
    await cluster.deletePortReservation({ name: "backup" });
    await eventually(() => expect(host.reservedPorts()).toBe("7000-7015,9999,45003"));
    expect(host.portsOfConnections(RANGE)).toEqual([45_000, 45_001, 45_002]);

    agent.child.kill("SIGKILL");
    await agent.exit;
    await cluster.deletePortReservation({ name: "metrics" });
    await reserve("late", { first: 45_001, count: 1 });
    expect(host.reservedPorts()).toBe("7000-7015,9999,45003");
    const next = host.startAgent();
    expect(await next.ready, next.stderr()).toBeDefined();
    await eventually(() => expect(host.reservedPorts()).toBe("7000-7015,9999,45001"));
    next.child.kill("SIGTERM");
    expect((await next.exit).code).toBe(0);
    expect(host.traces()).toEqual(["reserved ports 9999"]);
  });

  it("end with their lease", async () => {
    await host.startController();
    const { cluster } = connectToController();
    const agent = host.startAgent();
    expect(await agent.ready, agent.stderr()).toBeDefined();
    const lease = { seconds: 2n, nanos: 0 };
    await cluster.createPortReservation({ portReservation: { name: "job", node: host.node, ports: RANGE }, lease });
    await eventually(() => expect(host.reservedPorts()).toBe("7000-7015,45000-45003"));
    await eventually(() => expect(host.reservedPorts()).toBe("7000-7015"));
  });
});

describe("a controller that was killed", () => {
  const status = () => connect().local.getStatus({});

  async function killController(): Promise<void> {
    controller.child.kill("SIGKILL");
    await controller.exit;
    await eventually(async () => expect((await status()).controllerConnected).toBe(false));
  }

  it("finds everything as it was when it is back", async () => {
    await startWithEndpoint();
    await killController();
    const { local } = connect();
    expect((await local.listAttachedEndpoints({})).endpoints).toMatchObject([{ endpoint: { name: "web" } }]);
    await expect(local.attachEndpoint(attachment("late"))).rejects.toMatchObject({ code: "unavailable" });
    await host.startController();
    await eventually(async () => expect((await status()).controllerConnected).toBe(true));
    await local.attachEndpoint(attachment("late"));
    expect((await local.listAttachedEndpoints({})).endpoints.map(({ endpoint }) => endpoint?.name)).toEqual([
      "web",
      "late",
    ]);
    expect(host.traces()).toContain(`sf-${host.node}-blue-web`);
  });

  it("and has lost its store, gets a node without endpoints that works", async () => {
    await startWithEndpoint();
    await killController();
    rmSync(join(host.directory, "state"), { recursive: true });
    await host.startController();
    await eventually(async () =>
      expect(await status()).toMatchObject({ controllerConnected: true, attachedEndpoints: 0 }),
    );
    expect(host.traces()).not.toContain(`sf-${host.node}-blue-web`);
    await createNetwork();
    await connect().local.attachEndpoint(attachment("web"));
    expect(host.traces()).toContain(`sf-${host.node}-blue-web`);
  });
});

describe("it does not start, and leaves nothing,", () => {
  async function expectRefused(agent: Program, message: RegExp): Promise<void> {
    const { code, stdout, stderr } = await agent.exit;
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(host.traces()).toEqual([]);
    expect(host.files()).toEqual([]);
  }

  it("when it is not root", async () => {
    await expectRefused(host.startAgentAsNobody(), /^slimfast-agent: .* must be started by root$/m);
  });

  it("on an underlay address that the host does not have", async () => {
    const args = [...host.arguments(), "--underlay", "10.200.0.9"];
    await expectRefused(host.startAgent(args), /^slimfast-agent: underlayAddress: 10\.200\.0\.9 is not an address of/m);
  });

  it("under a name that is no DNS label", async () => {
    await expectRefused(host.startAgent([...host.arguments(), "--node", "No_Label"]), /^slimfast-agent: nodeName: /m);
  });

  it("in the run directory of an agent that runs, which goes on", async () => {
    const agent = await startWithEndpoint();
    const { code, stderr } = await host.startAgent().exit;
    expect(code).toBe(1);
    expect(stderr).toMatch(/run directory .* is taken by the running process/);
    expect((await connect().local.getStatus({})).attachedEndpoints).toBe(1);
    agent.child.kill("SIGTERM");
    expect((await agent.exit).code).toBe(0);
    expect(host.traces()).toEqual([]);
  });

  it("when the controller refuses the node", async () => {
    await host.startController();
    const first = host.startAgent();
    expect(await first.ready, first.stderr()).toBeDefined();
    const other = new TestHost();
    try {
      const args = [...other.arguments(), "--controller", host.controllerAddress];
      const { code, stderr } = await other.startAgent(args).exit;
      expect(code).toBe(1);
      expect(stderr).toMatch(/underlay address 10\.200\.0\.1 belongs to node/);
      expect(other.traces()).toEqual([]);
    } finally {
      await other.remove();
    }
  });

  it("when it is told to stop while it waits for the controller: that is no failure", async () => {
    const agent = host.startAgent();
    await eventually(() => expect(existsSync(join(host.runDir, "seccomp.sock"))).toBe(true));
    agent.child.kill("SIGTERM");
    const { code, stdout, stderr } = await agent.exit;
    expect(code, stderr).toBe(0);
    expect(stdout).toBe("");
    expect(host.traces()).toEqual([]);
    expect(host.files()).toEqual([]);
  });
});
