/** The commands about a cluster's desired state and what happens in it, on a real cluster. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { peerClient, peerServer, SERVER_READY } from "./testing/peer-programs.js";

const PORT = 80;

let cluster: Cluster;
let directory: string;
let web: Background;
let node: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-commands-"));
  cluster = await Cluster.start();
  node = `${cluster.tag}node-1`;
  web = await cluster.start({ node: "node-2", name: "web", ready: SERVER_READY }, peerServer(PORT, "web"));
});

afterAll(async () => {
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function json<Value>(...args: string[]): Promise<Value> {
  return cluster.cli.json<Value>(...args);
}

async function text(...args: string[]): Promise<string> {
  const result = await cluster.cli.run(args);
  if (result.exitCode !== 0) throw new Error(`slimfast ${args.join(" ")}: ${result.exitCode}: ${result.stderr}`);
  return result.stdout;
}

async function refusal(...args: string[]): Promise<{ exitCode: number | null; stderr: string }> {
  const { exitCode, stderr } = await cluster.cli.run(args);
  expect(stderr).not.toMatch(/^\s+at /m);
  return { exitCode, stderr };
}

describe("node", () => {
  it("is listed, filtered, labelled, drained and taken into use again", async () => {
    expect(await json<object[]>("node", "list")).toHaveLength(2);
    expect(await text("node", "list")).toContain("connected");
    await text("node", "label", node, "zone=a", "rack=7");
    await text("node", "label", node, "rack-");
    const [found] = await json<{ name: string; labels: object }[]>("node", "list", "--filter", 'labels.zone = "a"');
    expect(found).toMatchObject({ name: node, labels: { zone: "a" } });
    await text("node", "drain", node);
    expect(await json("node", "get", node)).toMatchObject({ state: "draining" });
    expect((await cluster.cli.run(["run", "--node", "node-1", "--", "true"])).exitCode).toBe(125);
    await text("node", "undrain", node);
    expect(await json("node", "get", node)).toMatchObject({ state: "active" });
    expect((await refusal("node", "delete", node)).exitCode).toBe(1);
  });
});

describe("network", () => {
  it("is created, changed and deleted", async () => {
    await text("network", "create", "green", "--prefix", "10.50.0.0/16", "--label", "team=a", "--description", "trial");
    await text("network", "update", "green", "--default-deny", "--label", "team-", "--label", "tier=front");
    expect(await json("network", "get", "green")).toMatchObject({
      ...{ name: "green", prefix: "10.50.0.0/16", description: "trial", defaultDeny: true, labels: { tier: "front" } },
    });
    expect((await refusal("network", "update", "green")).exitCode).toBe(2);
    expect((await refusal("network", "create", "green", "--prefix", "10.51.0.0/16")).stderr).toContain("green");
    await text("network", "delete", "green");
    expect((await refusal("network", "get", "green")).stderr).toMatch(/network list/);
  });

  it("has prefixes of either family, or both, in lists and in files", async () => {
    expect((await refusal("network", "create", "none")).exitCode).toBe(2);
    const six = await text("network", "create", "six", "--prefix6", "FD00:50::/64", "--node-subnets6", "80");
    expect(six).toContain("six: fd00:50::/64");
    await text("network", "create", "both", "--prefix", "10.50.0.0/16", "--prefix6", "fd00:51::/64");
    expect(await json("network", "get", "six")).toMatchObject({
      prefix: "",
      prefix6: "fd00:50::/64",
      nodeSubnet6Length: 80,
    });
    expect(await text("network", "list")).toMatch(/^both +\d+ +10\.50\.0\.0\/16,fd00:51::\/64 /m);
    expect(await json("network", "list", "--filter", 'prefix6 = "fd00:5*"')).toMatchObject([
      { name: "both" },
      { name: "six" },
    ]);
    const path = join(directory, "exported.yaml");
    writeFileSync(path, await text("export"));
    const { steps } = await json<{ steps: { type: string }[] }>("apply", "-f", path);
    expect(new Set(steps.map(({ type }) => type))).toEqual(new Set(["unchanged"]));
    for (const name of ["six", "both"]) await text("network", "delete", name);
  });

  it("is watched", async () => {
    const child = cluster.cli.start(["network", "list", "--watch", "--json"]);
    let seen = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      seen += chunk;
    });
    const lines = () =>
      seen
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { type: string; item: { name: string } })
        .map(({ type, item }) => `${type} ${item.name}`);
    await until(async () => lines().includes("existing default"), "the watch shows what exists");
    await text("network", "create", "brief", "--prefix", "10.52.0.0/16");
    await until(async () => lines().includes("added brief"), "the watch shows what is added");
    await text("network", "delete", "brief");
    await until(async () => lines().includes("deleted brief"), "the watch shows what is deleted");
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGINT");
    expect(await ended).toBe(0);
  });
});

describe("endpoint", () => {
  it("is listed, shown and labelled", async () => {
    await text("endpoint", "label", "web", "app=web");
    const found = await json<{ name: string }[]>("endpoint", "list", "--filter", 'labels.app = "web"');
    expect(found.map(({ name }) => name)).toEqual(["web"]);
    expect(await json("endpoint", "get", "web")).toMatchObject({ address: web.address, labels: { app: "web" } });
  });
});

describe("port", () => {
  it("is reserved, extended, shown and released", async () => {
    const reserved = await json<{ portReservation: object }>(
      ...["port", "reserve", "prometheus", "--node", node, "--ports", "9090-9091", "--lease", "1h"],
    );
    expect(reserved.portReservation).toMatchObject({ purpose: "static", ports: { first: 9090, count: 2 } });
    const taken = await refusal("port", "reserve", "other", "--node", node, "--ports", "9091");
    expect(taken.exitCode).toBe(1);
    expect(taken.stderr).toContain("prometheus");
    await text("port", "extend", "prometheus", "--lease", "forever");
    const list = await json<{ name: string; expireTime?: string }[]>("port", "list", "--node", node);
    const extended = list.find(({ name }) => name === "prometheus");
    expect(extended).toBeDefined();
    expect(extended?.expireTime).toBeUndefined();
    expect(await text("port", "list", "--strip")).toContain("reservation/prometheus");
    const free = await json<{ first: number; count: number }[]>("port", "free", "--node", node, "--count", "10");
    expect(free.length).toBeGreaterThan(0);
    expect(free.every(({ first, count }) => first > 9_091 || first + count <= 9_090)).toBe(true);
    await text("port", "release", "prometheus");
    expect(await text("port", "reserve", "any", "--node", node, "--count", "3")).toMatch(/Reserved any: \d+-\d+/);
    await text("port", "release", "any");
  });
});

describe("policy", () => {
  it("is created, changed, tried and deleted", async () => {
    const policy = ["--action", "deny", "--from", "app=none", "--to", "@web", "--port", "22,8000-8010"];
    await text("policy", "create", "no-ssh", ...policy);
    expect(await text("policy", "list")).toContain("app=none");
    await text("policy", "update", "no-ssh", "--port", "23");
    expect(await json("policy", "get", "no-ssh")).toMatchObject({
      ...{ action: "deny", to: [{ endpoint: "web" }], ports: [{ first: 23, count: 1 }] },
    });
    expect(await json("policy", "try", "no-web", "--action", "deny", "--to", "@web")).toMatchObject({ ok: true });
    expect((await refusal("policy", "create", "bad", "--action", "allow", "--from", "?")).exitCode).toBe(2);
    await text("policy", "delete", "no-ssh");
    expect(await json("policy", "list")).toEqual([]);
  });
});

describe("connections", () => {
  it("of the cluster are filtered, followed and cut", async () => {
    const client = await cluster.start(
      { node: "node-1", name: "client", ready: { prints: /web/ } },
      peerClient([`${web.address}:${PORT}`], { HOLD: "yes" }),
    );
    type RecordJson = { id: string; kind: string; connection: { endpoint: string } };
    const [record] = await until(async () => {
      const found = await json<RecordJson[]>("connections", "--filter", 'connection.endpoint = "client"');
      return found.length > 0 ? found : undefined;
    }, "the controller knows the connection");
    expect(record?.id).toMatch(new RegExp(`^${node}/\\d+$`));
    expect((await refusal("connection", "cut", "nonsense")).exitCode).toBe(2);
    await text("connection", "cut", record?.id ?? "");
    await until(async () => {
      const closed = await json<RecordJson[]>("connections", "--all", "--filter", 'connection.endpoint = "client"');
      return closed.some(({ id, kind }) => id === record?.id && kind === "closed");
    }, "the connection is cut");
    await client.stop();
  });
});

describe("top", () => {
  it("is a snapshot without a terminal", async () => {
    expect(await json("top")).toMatchObject({ ok: true, nodes: 2, nodesConnected: 2, traffic: expect.anything() });
    expect(await text("top")).toContain("nodes 2 of 2 connected");
  });
});

describe("apply and export", () => {
  const FILE = `
kind: Network
name: shop
prefix: 10.60.0.0/16
labels: {owner: files}
---
kind: Policy
network: shop
name: front
action: allow
from: [{labels: {app: front}}]
ports: [80, 8000-8010]
---
kind: PortReservation
name: exporter
node: NODE
ports: 9100
`;

  function file(name: string, content: string): string {
    const path = join(directory, name);
    writeFileSync(path, content.replaceAll("NODE", node));
    return path;
  }

  it("do what the file says, once", async () => {
    const path = file("shop.yaml", FILE);
    expect(await text("apply", "-f", path, "--dry-run", "--diff")).toContain('+ prefix: "10.60.0.0/16"');
    expect(await json("network", "list", "--filter", 'name = "shop"')).toEqual([]);
    expect(await text("apply", "-f", path)).toContain("done: create Policy shop/front");
    const again = await json<{ steps: { type: string }[] }>("apply", "-f", path);
    expect(new Set(again.steps.map(({ type }) => type))).toEqual(new Set(["unchanged"]));
    expect(
      await text("apply", "-f", file("less.yaml", FILE.replace("ports: [80, 8000-8010]", "ports: [80]"))),
    ).toContain("done: update Policy shop/front");
  });

  it("give back what was applied", async () => {
    const exported = await text("export");
    const result = await cluster.cli.run(["apply", "-f", "-", "--json"], exported);
    const { steps } = JSON.parse(result.stdout) as { steps: { type: string; key: string }[] };
    expect(steps.filter(({ type }) => type !== "unchanged")).toEqual([]);
    expect(steps.map(({ key }) => key)).toEqual(expect.arrayContaining(["shop", "shop/front", "exporter"]));
  });

  it("say what was done and what was not", async () => {
    const path = file(
      "wrong.yaml",
      "kind: Network\nname: fine\nprefix: 10.70.0.0/16\n---\nkind: Network\nname: wrong\nprefix: nonsense\n---\nkind: Network\nname: later\nprefix: 10.71.0.0/16\n",
    );
    const { exitCode, stdout } = await cluster.cli.run(["apply", "-f", path]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain("done: create Network fine");
    expect(stdout).toContain("FAILED: create Network wrong");
    expect(stdout).toContain("not tried: create Network later");
    await text("network", "delete", "fine");
  });

  it("prune what has the label and is in no file", async () => {
    const path = file("empty.yaml", "kind: PortReservation\nname: exporter\nnode: NODE\nports: 9100\n");
    expect(await text("apply", "-f", path, "--prune", "owner=files")).toContain("done: delete Network shop");
    expect(await json("policy", "list")).toEqual([]);
    await text("port", "release", "exporter");
  });
});

describe("bundle", () => {
  it("has state, versions, kernel facts and logs, and no secret", async () => {
    const secret = `sf_${"a".repeat(43)}`;
    // Where a secret could come from: what people write, and what processes log.
    await text("network", "create", "leaky", "--prefix", "10.80.0.0/16", "--description", `with ${secret}`);
    const archive = join(directory, "bundle.tar.gz");
    const { files } = await json<{ files: string[] }>("bundle", "--output", archive);
    expect(files).toEqual(
      expect.arrayContaining(["versions.json", "kernel.json", "cluster/networks.json", "logs/controller.log"]),
    );
    expect(statSync(archive).mode & 0o777).toBe(0o600);
    execFileSync("tar", ["-C", directory, "-xzf", archive]);
    const [root = ""] = readdirSync(directory).filter((name) => name.startsWith("slimfast-bundle-"));
    for (const name of files) {
      const content = readFileSync(join(directory, root, name), "utf8");
      expect(content, name).not.toMatch(/sf_[A-Za-z0-9_-]{20}|PRIVATE KEY/);
      expect(content, name).not.toMatch(/^could not be collected/);
    }
    expect(readFileSync(join(directory, root, "cluster/networks.json"), "utf8")).toContain("with [removed]");
    expect((await refusal("bundle", "--output", archive)).exitCode).toBe(1);
    await text("network", "delete", "leaky");
  });
});

describe("another controller", () => {
  it("is named by --server, the environment or a context", async () => {
    const address = `unix:${cluster.runDir}/controller.sock`;
    expect(await json<object[]>("node", "list", "--server", address)).toHaveLength(2);
    expect((await refusal("node", "list", "--server", "nonsense")).exitCode).toBe(1);
    expect((await refusal("node", "list", "--token", "x")).exitCode).toBe(2);
    const unreachable = await refusal("node", "list", "--server", `unix:${directory}/nobody.sock`);
    expect(unreachable.exitCode).toBe(1);
    expect(unreachable.stderr).toContain("is unavailable");
  });
});
