/** What callers may try, over real sockets and real TLS. */
import { setTimeout as sleep } from "node:timers/promises";
import * as proto from "@slimfast/proto";
import { Metadata } from "nice-grpc";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type NodeIdentity, newNodeKey, SecureController, statusOf } from "../testing/secure-controller.js";
import { createAuthority, issueNodeCertificate, readCertificateRequest } from "./x509.js";

const { ROLE_ADMIN, ROLE_JOIN, ROLE_OPERATOR, ROLE_VIEWER } = proto.Role;

/** Waits until something is so; the test's own time limit ends it. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(20);
}

/** The status with which a watch ends that works at first. */
async function endOfWatch(watch: AsyncIterable<unknown>, meanwhile: () => Promise<unknown>): Promise<string> {
  const iterator = watch[Symbol.asyncIterator]();
  await iterator.next();
  await meanwhile();
  return statusOf({ [Symbol.asyncIterator]: () => iterator });
}

function nodeMessage(name: string, number: number) {
  return { name, underlayAddress: `10.200.0.${number}`, frontPorts: { first: 7_100, count: 16 } };
}

let cluster: SecureController;
let nodeA: NodeIdentity;
let ca: string;

beforeAll(async () => {
  cluster = await SecureController.start();
  nodeA = await cluster.join("node-a");
  ca = nodeA.authorities;
  for (const name of ["blue", "red"]) {
    await cluster.local().cluster.createNetwork({ network: { name, prefix: "10.40.0.0/16" } });
  }
});

afterAll(() => cluster?.remove());

describe("without credentials", () => {
  it("everything is admin's on the unix socket", async () => {
    expect(await cluster.local().access.whoAmI({})).toMatchObject({ actor: "local", role: ROLE_ADMIN });
  });

  it("nothing can be read over TLS, and the refusal is recorded", async () => {
    expect(await statusOf(cluster.tls({ ca }).cluster.listNodes({}))).toBe("UNAUTHENTICATED");
    await until(async () => {
      const [entry] = await cluster.audit('code = "UNAUTHENTICATED" AND action = "ClusterService/ListNodes"');
      return entry?.actor === "unknown" && /^127\.0\.0\.1:\d+$/.test(entry.peer);
    });
  });

  it("a TLS port does not speak in the clear, and plain loopback needs a token", async () => {
    const token = await cluster.token("plain", ROLE_VIEWER);
    expect(await statusOf(cluster.plain(token).cluster.listNodes({}))).toBe("UNAVAILABLE");
    const other = await SecureController.start({ tls: undefined as never });
    try {
      const secret = await other.token("viewer", ROLE_VIEWER);
      expect(await statusOf(other.plain().cluster.listNodes({}))).toBe("UNAUTHENTICATED");
      expect(await statusOf(other.plain(secret).cluster.listNodes({}))).toBe("OK");
    } finally {
      await other.remove();
    }
  });
});

describe("tokens", () => {
  it("that are wrong are refused, on the unix socket as well", async () => {
    const wrong = `sf_${"A".repeat(43)}`;
    expect(await statusOf(cluster.tls({ ca, token: wrong }).cluster.listNodes({}))).toBe("UNAUTHENTICATED");
    expect(await statusOf(cluster.local(wrong).cluster.listNodes({}))).toBe("UNAUTHENTICATED");
    expect(await statusOf(cluster.local("nonsense").cluster.listNodes({}))).toBe("UNAUTHENTICATED");
  });

  it("count in `authorization` only, once", async () => {
    const token = await cluster.token("places", ROLE_VIEWER);
    const { access } = cluster.tls({ ca });
    const who = (entries: Record<string, string | string[]>) => access.whoAmI({}, { metadata: Metadata(entries) });
    expect(await statusOf(who({ authorization: `Bearer ${token}` }))).toBe("OK");
    for (const entries of [
      { authorization: token },
      { authorization: `Basic ${token}` },
      { authorization: [`Bearer ${token}`, `Bearer ${token}`] },
      { "x-authorization": `Bearer ${token}` },
      { token },
      { "slimfast-peer": JSON.stringify({ listener: "unix", address: "unix" }) },
    ]) {
      expect([entries, await statusOf(who(entries))]).toEqual([entries, "UNAUTHENTICATED"]);
    }
  });

  it("are shown once, and kept as a hash", async () => {
    const secret = await cluster.token("secret", ROLE_VIEWER);
    const listed = JSON.stringify((await cluster.local().access.listTokens({})).tokens.map(proto.Token.toJSON));
    const audited = JSON.stringify((await cluster.audit()).map(proto.AuditEntry.toJSON));
    expect(listed).toContain('"name":"secret"');
    expect(audited).toContain("token/secret");
    for (const text of [listed, audited]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain("hash");
    }
  });

  it("have the rights of their role, and a call beyond them is recorded", async () => {
    const viewer = cluster.tls({ ca, token: await cluster.token("looker", ROLE_VIEWER) });
    expect(await viewer.access.whoAmI({})).toMatchObject({ actor: "token/looker", role: ROLE_VIEWER });
    expect(await statusOf(viewer.cluster.listNetworks({}))).toBe("OK");
    expect(await statusOf(viewer.cluster.deleteNetwork({ name: "red" }))).toBe("PERMISSION_DENIED");
    expect(await statusOf(viewer.access.listTokens({}))).toBe("PERMISSION_DENIED");
    expect(await statusOf(viewer.agent.registerNode({ node: nodeMessage("node-x", 77) }))).toBe("PERMISSION_DENIED");
    await until(async () => {
      const [entry] = await cluster.audit('actor = "token/looker" AND action = "ClusterService/DeleteNetwork"');
      return entry?.code === "PERMISSION_DENIED" && entry.resource === "network/red";
    });
  });

  it("that are revoked end at once, open watches included", async () => {
    const token = await cluster.token("revoked", ROLE_VIEWER);
    const caller = cluster.tls({ ca, token });
    const revoke = () => cluster.local().access.revokeToken({ name: "revoked" });
    expect(await endOfWatch(caller.cluster.watchResources({}), revoke)).toBe("UNAUTHENTICATED");
    expect(await statusOf(caller.access.whoAmI({}))).toBe("UNAUTHENTICATED");
  });

  it("that expire end, open watches included", async () => {
    const token = await cluster.token("short", ROLE_VIEWER, { lifetimeMs: 1_500 });
    const caller = cluster.tls({ ca, token });
    expect(await endOfWatch(caller.cluster.watchResources({}), async () => undefined)).toBe("UNAUTHENTICATED");
    expect(await statusOf(caller.access.whoAmI({}))).toBe("UNAUTHENTICATED");
  });

  it("note when they were used", async () => {
    await cluster.tls({ ca, token: await cluster.token("used", ROLE_VIEWER) }).access.whoAmI({});
    await until(async () => {
      const { tokens } = await cluster.local().access.listTokens({ pageSize: 1_000 });
      return tokens.some(({ name, lastUseTime }) => name === "used" && lastUseTime !== undefined);
    });
    expect(await cluster.audit('resource = "token/used"')).toHaveLength(1);
  });

  it("with a scope reach their networks only", async () => {
    const blue = cluster.tls({ ca, token: await cluster.token("blue", ROLE_OPERATOR, { networks: ["blue"] }) });
    const { networks } = await blue.cluster.listNetworks({ filter: 'name = "red" OR name = "blue"' });
    expect(networks.map(({ name }) => name)).toEqual(["blue"]);
    const denied = [
      () => blue.cluster.getNetwork({ name: "red" }),
      () => blue.cluster.deleteNetwork({ name: "red" }),
      () => blue.cluster.updateNetwork({ network: { name: "red" } }),
      () => blue.cluster.createNetwork({ network: { name: "green", prefix: "10.41.0.0/16" } }),
      () => blue.cluster.listEndpoints({ network: "red" }),
      () => blue.cluster.createPolicy({ policy: { name: "p", network: "red" } }),
      () => blue.cluster.listNodes({}),
      () => blue.cluster.listPortReservations({}),
      () => blue.cluster.createPortReservation({ portReservation: { name: "r", node: "node-a" } }),
      () => blue.cluster.watchResources({ network: "red" }),
      () => blue.operations.watchOverview({}),
      () => blue.access.createToken({ token: { name: "mine", role: ROLE_ADMIN } }),
    ];
    for (const call of denied) expect(await statusOf(call())).toBe("PERMISSION_DENIED");
    expect(await statusOf(blue.cluster.getNetwork({ name: "blue" }))).toBe("OK");
    expect(await statusOf(blue.cluster.listNetworks({ filter: 'name = "x") OR (name = "red"' }))).toBe(
      "INVALID_ARGUMENT",
    );
    expect(await statusOf(blue.operations.cutConnection({ id: "node-a/7" }))).toBe("NOT_FOUND");
  });

  it("cannot be made badly", async () => {
    const { access } = cluster.local();
    for (const token of [
      { name: "Bad Name", role: ROLE_VIEWER },
      { name: "none" },
      { name: "scoped-admin", role: ROLE_ADMIN, networks: ["blue"] },
      { name: "uses", role: ROLE_VIEWER, usesLeft: 3 },
    ]) {
      expect([token, await statusOf(access.createToken({ token }))]).toEqual([token, "INVALID_ARGUMENT"]);
    }
    expect(await statusOf(access.createToken({ token: { name: "a", role: ROLE_VIEWER, networks: ["nowhere"] } }))).toBe(
      "NOT_FOUND",
    );
  });
});

describe("join tokens", () => {
  const enroll = async (joinToken: string, node: string) => {
    const { request } = await newNodeKey();
    return cluster.tls({ ca }).enrollment.enrollNode({ node, joinToken, certificateRequest: request });
  };

  it("carry the authority's fingerprint, and work as often as they say, also at the same time", async () => {
    const token = await cluster.token("join-two", ROLE_JOIN, { uses: 2 });
    expect(token).toMatch(/^sf_[\w-]{43}\.[0-9a-f]{64}$/);
    const outcomes = await Promise.all([1, 2, 3, 4, 5].map((number) => statusOf(enroll(token, `many-${number}`))));
    expect(outcomes.toSorted()).toEqual(["OK", "OK", "UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED"]);
  });

  it("are refused when they are wrong, expired, or of another role", async () => {
    const short = await cluster.token("join-short", ROLE_JOIN, { lifetimeMs: 1_000 });
    await sleep(1_100);
    expect(await statusOf(enroll(short, "late"))).toBe("UNAUTHENTICATED");
    expect(await statusOf(enroll(`sf_${"B".repeat(43)}`, "wrong"))).toBe("UNAUTHENTICATED");
    expect(await statusOf(enroll(await cluster.token("no-join", ROLE_OPERATOR), "wrong"))).toBe("PERMISSION_DENIED");
  });

  it("give nobody the name of a node that is there", async () => {
    expect(await statusOf(enroll(await cluster.token("thief", ROLE_JOIN), "node-a"))).toBe("ALREADY_EXISTS");
  });

  it("are good for nothing else", async () => {
    const joiner = cluster.tls({ ca, token: await cluster.token("joiner", ROLE_JOIN) });
    expect(await joiner.access.whoAmI({})).toMatchObject({ role: ROLE_JOIN });
    expect(await statusOf(joiner.cluster.listNodes({}))).toBe("PERMISSION_DENIED");
  });
});

describe("a node's certificate", () => {
  const register = (identity: NodeIdentity, name: string, number: number) =>
    cluster.tls({ ca, identity }).agent.registerNode({ node: nodeMessage(name, number) });

  it("lets it speak for itself, and for no other node", async () => {
    expect(await statusOf(register(nodeA, "node-a", 1))).toBe("OK");
    expect(await statusOf(register(nodeA, "node-b", 2))).toBe("PERMISSION_DENIED");
    const { agent, cluster: people } = cluster.tls({ ca, identity: nodeA });
    const hello = {
      kind: { $case: "hello" as const, value: { node: "node-b", known: [], attached: [], storeId: "" } },
    };
    const requests = (async function* () {
      yield hello;
    })();
    expect(await statusOf(agent.sync(requests))).toBe("PERMISSION_DENIED");
    expect(await statusOf(people.listNodes({}))).toBe("PERMISSION_DENIED");
  });

  it("of another cluster, or of nobody, counts for nothing", async () => {
    const other = await createAuthority(Date.now());
    const { request, privateKey } = await newNodeKey();
    const verified = await readCertificateRequest(request);
    const validity = { nowMs: Date.now(), lifetimeMs: 3_600_000 };
    const { certificate } = await issueNodeCertificate(other, "node-a", verified, validity);
    const foreign = { certificate, privateKey, authorities: ca };
    expect(await statusOf(register(foreign, "node-a", 1))).toBe("UNAUTHENTICATED");
    const selfSigned = { ...other, authorities: ca };
    expect(await statusOf(register(selfSigned, "node-a", 1))).toBe("UNAUTHENTICATED");
  });

  it("is renewed, and revoked with its open streams", async () => {
    // Of its own: failures of one address are limited.
    const own = await SecureController.start();
    onTestFinished(() => own.remove());
    const node = await own.join("node-r");
    const register = (identity: NodeIdentity) =>
      own.tls({ ca: node.authorities, identity }).agent.registerNode({ node: nodeMessage("node-r", 9) });
    const { agent } = own.tls({ ca: node.authorities, identity: node });
    await register(node);
    const { request, privateKey } = await newNodeKey();
    const renewed = { ...(await agent.renewCertificate({ certificateRequest: request })), privateKey };
    expect(await statusOf(register(renewed))).toBe("OK");

    const requests = (async function* () {
      yield {
        kind: { $case: "hello" as const, value: { node: "node-r", known: [], attached: [], storeId: "" } },
      };
      await new Promise(() => undefined);
    })();
    const revoke = () => own.local().access.revokeNodeCertificates({ node: "node-r" });
    expect(await endOfWatch(agent.sync(requests), revoke)).toBe("UNAUTHENTICATED");
    expect(await statusOf(register(renewed))).toBe("UNAUTHENTICATED");
    expect(await statusOf(agent.renewCertificate({ certificateRequest: request }))).toBe("UNAUTHENTICATED");
    // It can join again.
    expect(await statusOf(register(await own.join("node-r")))).toBe("OK");
  });
});

describe("the audit log", () => {
  it("has each change with what was before and after, in the order of the changes", async () => {
    const operator = cluster.tls({ ca, token: await cluster.token("maker", ROLE_OPERATOR) });
    await operator.cluster.createNetwork({ network: { name: "audited", prefix: "10.42.0.0/16" } });
    await operator.cluster.updateNetwork({
      network: { name: "audited", description: "new" },
      updateMask: ["description"],
    });
    await operator.cluster.deleteNetwork({ name: "audited" });
    const entries = await cluster.audit('resource = "network/audited"');
    expect(entries.map(({ action }) => action)).toEqual([
      "ClusterService/DeleteNetwork",
      "ClusterService/UpdateNetwork",
      "ClusterService/CreateNetwork",
    ]);
    const [deleted, updated, created] = entries;
    expect(created).toMatchObject({ actor: "token/maker", code: "OK", before: "" });
    expect(JSON.parse(created?.after ?? "")).toMatchObject({ name: "audited", prefix: "10.42.0.0/16" });
    expect(JSON.parse(updated?.after ?? "")).toMatchObject({ description: "new" });
    expect(deleted?.before).toContain("audited");
    expect(deleted?.after).toBe("");
    expect((updated?.sequence ?? 0n) > (created?.sequence ?? 0n)).toBe(true);
  });

  it("has what a node reports of its endpoints' containers as the node's deed", async () => {
    const { agent } = cluster.tls({ ca, identity: nodeA });
    await agent.registerNode({ node: nodeMessage("node-a", 1) });
    const { endpoint } = await agent.createEndpoint({ endpoint: { name: "open", network: "blue", node: "node-a" } });
    const [node, endpoints] = [
      "node-a",
      [{ endpoint: { network: "blue", name: "open", id: endpoint?.id ?? 0 }, listeners: 2 }],
    ];
    const requests = (async function* () {
      yield { node, snapshot: { connections: [] }, unguarded: { endpoints } };
    })();
    expect(await statusOf(agent.report(requests))).toBe("OK");
    const [entry] = await cluster.audit('resource = "endpoint/blue/open"');
    expect(entry).toMatchObject({ actor: "node/node-a", action: "AgentService/Report", code: "OK" });
    expect(JSON.parse(entry?.after ?? "")).toMatchObject({ name: "open", unguardedListeners: 2 });
  });

  it("has failed changes", async () => {
    expect(await statusOf(cluster.local().cluster.deleteNetwork({ name: "nowhere" }))).toBe("NOT_FOUND");
    await until(async () => (await cluster.audit('resource = "network/nowhere"'))[0]?.code === "NOT_FOUND");
  });

  it("can be watched", async () => {
    const watch = cluster.local().access.watchAuditEntries({ filter: 'resource = "network/watched"' });
    const iterator = watch[Symbol.asyncIterator]();
    const first = iterator.next();
    // The watch begins when it begins: changes until it has seen one.
    const { cluster: people } = cluster.local();
    let isSeen = false;
    void first.then(() => {
      isSeen = true;
    });
    while (!isSeen) {
      await people.createNetwork({ network: { name: "watched", prefix: "10.43.0.0/16" } });
      await people.deleteNetwork({ name: "watched" });
    }
    expect((await first).value.entries[0]).toMatchObject({ actor: "local", resource: "network/watched" });
    await iterator.return?.();
  });
});

describe("floods", () => {
  it("of failed authentications are limited, and right credentials go through", async () => {
    const own = await SecureController.start();
    try {
      const { authorities } = await own.join("node-f");
      const wrong = own.tls({ ca: authorities, token: `sf_${"C".repeat(43)}` });
      const outcomes = new Set<string>();
      for (let call = 0; call < 40; call += 1) outcomes.add(await statusOf(wrong.access.whoAmI({})));
      expect([...outcomes]).toEqual(["UNAUTHENTICATED", "RESOURCE_EXHAUSTED"]);
      const right = own.tls({ ca: authorities, token: await own.token("right", ROLE_VIEWER) });
      expect(await statusOf(right.access.whoAmI({}))).toBe("OK");
    } finally {
      await own.remove();
    }
  });

  it("of metadata are refused, and the next call is answered", async () => {
    const token = await cluster.token("metadata", ROLE_VIEWER);
    const { access } = cluster.tls({ ca, token });
    const metadata = Metadata({ authorization: `Bearer ${token}`, filler: "x".repeat(200_000) });
    expect(await statusOf(access.whoAmI({}, { metadata }))).not.toBe("OK");
    expect(await statusOf(cluster.tls({ ca, token }).access.whoAmI({}))).toBe("OK");
  });
});

describe("short certificates", () => {
  it("end, and a connection lives on with the renewed one", { timeout: 30_000 }, async () => {
    const own = await SecureController.start({ certificateLifetimeMs: 6_000 });
    try {
      const first = await own.join("node-s");
      const { agent } = own.tls({ ca: first.authorities, identity: first });
      const register = (client = agent) => statusOf(client.registerNode({ node: nodeMessage("node-s", 3) }));
      expect(await register()).toBe("OK");
      const { request } = await newNodeKey();
      await sleep(3_000);
      await agent.renewCertificate({ certificateRequest: request });
      // Once the first has ended, connections made with it are refused; the one that renewed its certificate goes on.
      await until(
        async () => (await register(own.tls({ ca: first.authorities, identity: first }).agent)) === "UNAUTHENTICATED",
      );
      expect(await register()).toBe("OK");
      // Until the renewed one has ended, too.
      await until(async () => (await register()) === "UNAUTHENTICATED");
    } finally {
      await own.remove();
    }
  });
});
