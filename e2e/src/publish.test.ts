/** `slimfast run --publish`: a host port of the node leads to the endpoint, as long as the endpoint is there. */
import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "./fixture/cluster.js";
import { addNodes6, NODES6 } from "./fixture/node-addresses.js";
import { until } from "./fixture/until.js";
import type { StatusReport } from "./testing/cli.js";
import {
  type ClientReport,
  peerClient,
  peerServer,
  readReports,
  SERVER_READY,
  socketAddress,
} from "./testing/peer-programs.js";
import { runIn } from "./testing/surroundings.js";

const PORT = 80;
const NODE_1 = "10.200.0.1";
const NODE_2 = "10.200.0.2";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
  await addNodes6(cluster);
});

afterAll(async () => {
  await cluster?.stop();
});

/** A client on a node itself, outside of every container. */
async function askFromHost(node: string, target: string): Promise<ClientReport | undefined> {
  const result = await runIn(["ip", "netns", "exec", cluster.netnsOf(node)], peerClient([target]));
  return readReports(result.stdout)[0];
}

function publish(port: number, label: string, tier: "notify" | "preload" = "notify") {
  const options = { name: label, tier, publish: [`${port}:${PORT}`], ready: SERVER_READY } as const;
  return cluster.start(options, peerServer(PORT, label));
}

describe("a published port", () => {
  it.each(["notify", "preload"] as const)("leads to the endpoint, which sees the real client (%s)", async (tier) => {
    const server = await publish(8080, `web-${tier}`, tier);
    const fromOtherHost = await askFromHost("node-2", `${NODE_1}:8080`);
    expect(fromOtherHost).toMatchObject({ error: null, peer: `${NODE_1}:8080`, answer: { label: `web-${tier}` } });
    expect(fromOtherHost?.local).toMatch(new RegExp(`^${NODE_2}:`));
    expect(fromOtherHost?.answer).toMatchObject({ peer: fromOtherHost?.local, local: `${server.address}:${PORT}` });

    const fromLoopback = await askFromHost("node-1", "127.0.0.1:8080");
    expect(fromLoopback).toMatchObject({ error: null, answer: { label: `web-${tier}`, peer: fromLoopback?.local } });
    const fromItself = await askFromHost("node-1", `${NODE_1}:8080`);
    expect(fromItself).toMatchObject({ error: null, answer: { label: `web-${tier}`, peer: fromItself?.local } });
    expect(fromItself?.local).toMatch(new RegExp(`^${NODE_1}:`));

    // It is still where it was for the other endpoints.
    const [overlay] = readReports(await cluster.output({ node: "node-2" }, peerClient([`${server.address}:${PORT}`])));
    expect(overlay).toMatchObject({ answer: { label: `web-${tier}`, peer: overlay?.local } });
    await server.stop();
    expect(await askFromHost("node-2", `${NODE_1}:8080`)).toMatchObject({ error: "ECONNREFUSED" });
  });

  it.each(["notify", "preload"] as const)("leads there by the node's IPv6 addresses, too (%s)", async (tier) => {
    await cluster.cli.json(
      "network",
      "create",
      `dual-${tier}`,
      "--prefix",
      "10.60.0.0/24",
      "--prefix6",
      "fd00:60::/64",
    );
    const options = {
      network: `dual-${tier}`,
      name: `web6-${tier}`,
      tier,
      publish: [`8084:${PORT}`],
      ready: SERVER_READY,
    };
    const server = await cluster.start(options, peerServer(PORT, `web6-${tier}`, [4, 6]));
    const local = socketAddress(server.address6, PORT);
    for (const [node, target, own] of [
      ["node-2", NODES6["node-1"], NODES6["node-2"]],
      ["node-1", NODES6["node-1"], NODES6["node-1"]],
      ["node-1", "::1", "::1"],
    ] as const) {
      const report = await askFromHost(node, socketAddress(target, 8084));
      expect(report).toMatchObject({ error: null, answer: { label: `web6-${tier}`, local, peer: report?.local } });
      expect(report?.local?.startsWith(`[${own}]:`), report?.local ?? "").toBe(true);
    }
    await server.stop();
  });

  it("is on its own node only, and the endpoint's port is not", async () => {
    const server = await publish(8080, "web");
    expect(await askFromHost("node-1", `${NODE_2}:8080`)).toMatchObject({ error: "ECONNREFUSED" });
    expect(await askFromHost("node-2", `${NODE_1}:${PORT}`)).toMatchObject({ error: "ECONNREFUSED" });
    await server.stop();
  });

  it("refuses while nobody listens behind it, and serves whoever does then", async () => {
    const late = ["sh", "-c", 'read line; exec "$@"', "sh", ...peerServer(PORT, "late")];
    const server = await cluster.start({ name: "late", publish: [`8081:${PORT}`] }, late);
    expect(await askFromHost("node-2", `${NODE_1}:8081`)).toMatchObject({ error: "ECONNREFUSED" });
    server.write("go on\n");
    await server.prints(SERVER_READY.prints);
    expect(await askFromHost("node-2", `${NODE_1}:8081`)).toMatchObject({ answer: { label: "late" } });
    await server.stop();
  });

  it("is shown by status, and several can lead to one endpoint", async () => {
    const options = { name: "both", publish: [`8082:${PORT}`, `8083:${PORT}`], ready: SERVER_READY };
    const server = await cluster.start(options, peerServer(PORT, "both"));
    for (const port of [8082, 8083]) {
      expect(await askFromHost("node-2", `${NODE_1}:${port}`)).toMatchObject({ answer: { label: "both" } });
    }
    const { controller } = await cluster.cli.json<StatusReport>("status");
    expect(controller.endpoints).toMatchObject([
      { name: "both", publishedPorts: [8082, 8083].map((hostPort) => ({ hostPort, endpointPort: PORT })) },
    ]);
    await server.stop();
  });
});

describe("a host port that is taken", () => {
  it("by an endpoint is refused by its name, until that has ended", async () => {
    const holder = await publish(8080, "holder");
    const refused = await cluster.run({ publish: ["8080:80"] }, ["true"]);
    expect(refused.exitCode).toBe(125);
    expect(refused.stderr).toContain("endpoint/default/holder");
    // Another node has a port 8080 of its own.
    const elsewhere = await cluster.run({ node: "node-2", publish: ["8080:80"] }, ["true"]);
    expect(elsewhere.exitCode).toBe(0);
    // A process of the node cannot have it either.
    const bind = ["python3", "-c", "import socket; socket.create_server(('', 8080))"];
    const bound = await runIn(["ip", "netns", "exec", cluster.netnsOf("node-1")], bind);
    expect(bound.stderr).toContain("Address already in use");
    await holder.stop();
    expect((await cluster.run({ publish: ["8080:80"] }, ["true"])).exitCode).toBe(0);
  });

  it("by a process of the node is refused by its name and pid, until that has ended", async () => {
    const inNode = ["netns", "exec", cluster.netnsOf("node-1")];
    const python = spawn("ip", [...inNode, "python3", "-m", "http.server", "8090"], { stdio: "ignore" });
    const ended = new Promise((resolve) => python.once("close", resolve));
    const isListening = async () => (await runIn(["ip", ...inNode], ["ss", "-Htln", "sport = :8090"])).stdout !== "";
    await until(isListening, "Python listens");
    const refused = await cluster.run({ publish: ["8090:80"] }, ["true"]);
    python.kill("SIGKILL");
    await ended;
    expect(refused.exitCode).toBe(125);
    expect(refused.stderr).toContain(`TCP port 8090 is taken by python3 (pid ${python.pid})`);
    expect(refused.stderr).toContain("choose another port");
    expect((await cluster.status()).controller.endpoints).toEqual([]);
    expect((await cluster.run({ publish: ["8090:80"] }, ["true"])).exitCode).toBe(0);
  });
});
