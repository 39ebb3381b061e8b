/** The API of two controllers on one etcd: what one did, the other knows, watches, repeats and refuses. */
import { Status } from "nice-grpc";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { refusal, registerNode, TestController } from "../testing/controller.js";
import { TestEtcd } from "../testing/etcd.js";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let etcd: TestEtcd;
let one: TestController;
let other: TestController;

beforeAll(async () => {
  etcd = await TestEtcd.start();
  const store = `etcd:${etcd.hosts.join(",")}`;
  one = await TestController.start(undefined, store);
  other = await TestController.start(undefined, store);
});

afterAll(async () => {
  await one?.remove();
  await other?.remove();
  await etcd?.remove();
});

it("a watch at one of them sees what happens at the other, and a node that is connected there", async () => {
  const { revision } = await other.client.cluster.listNetworks({});
  const abort = new AbortController();
  const seen = new Set<string>();
  const watching = (async () => {
    for await (const answer of other.client.cluster.watchResources({ revision }, { signal: abort.signal })) {
      for (const { name, resource } of answer.changes) {
        seen.add(resource?.$case === "node" && resource.value.connected ? `${name} connected` : name);
      }
      if (["blue", "blue/web", "node-1 connected"].every((name) => seen.has(name))) return;
    }
  })();
  await one.client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/24" } });
  await registerNode(one.client, 1);
  const agent = new TestAgent(one.client, "node-1");
  await one.client.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-1" } });
  await watching;
  abort.abort();
  await agent.vanish();
});

it("a creation is repeated at the other with the same answer, and an old etag is refused there", async () => {
  const request = { network: { name: "red", prefix: "10.33.0.0/24" }, requestId: "once" };
  const answers = await Promise.all(
    [one, other, one, other].map(({ client }) => client.cluster.createNetwork(request)),
  );
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  const etag = answers[0]?.network?.etag ?? "";
  const updates = await Promise.allSettled(
    [one, other].map(({ client }, index) =>
      client.cluster.updateNetwork({ network: { name: "red", description: `${index}`, etag } }),
    ),
  );
  expect(updates.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const { client } of [one, other]) {
    expect(await refusal(client.cluster.deleteNetwork({ name: "red", etag }))).toMatchObject({ code: Status.ABORTED });
  }
});

describe("of two controllers that are asked at once for the same host port", () => {
  const ROUNDS = 10;
  const publish = (controller: TestController, name: string, hostPort: number) =>
    controller.client.agent.createEndpoint({
      endpoint: { name, network: "green", node: "node-2", publishedPorts: [{ hostPort, endpointPort: 80 }] },
    });
  const reserve = (controller: TestController, name: string, first: number) =>
    controller.client.cluster.createPortReservation({
      portReservation: { name, node: "node-2", ports: { first, count: 2 } },
    });
  /** What the one that lost heard. */
  async function race(calls: readonly Promise<unknown>[]) {
    const results = await Promise.allSettled(calls);
    const lost = results.filter((result) => result.status === "rejected");
    expect(lost, "exactly one has it").toHaveLength(1);
    return {
      winner: results.findIndex(({ status }) => status === "fulfilled"),
      refused: await refusal(Promise.reject(lost[0]?.reason)),
    };
  }
  /** All of the node's reservations but its front ports, as both know them. */
  async function owners(): Promise<string[][]> {
    return await Promise.all(
      [one, other].map(async ({ client }) => {
        const { portReservations } = await client.cluster.listPortReservations({ filter: 'node="node-2"' });
        return portReservations.map(({ owner }) => owner).filter((owner) => owner !== "node/node-2");
      }),
    );
  }

  beforeAll(async () => {
    await one.client.cluster.createNetwork({ network: { name: "green", prefix: "10.34.0.0/24" } });
    await registerNode(one.client, 2);
    await vi.waitFor(async () => await other.client.cluster.getNode({ name: "node-2" }), { timeout: 10_000 });
    await vi.waitFor(async () => await other.client.cluster.getNetwork({ name: "green" }), { timeout: 10_000 });
  });

  it("one publishes it; the other hears whose it is, and nothing of its endpoint is there", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const hostPort = 9_000 + round;
      const names = [`web-${round}-one`, `web-${round}-other`];
      const { winner, refused } = await race(
        [one, other].map((controller, index) => publish(controller, names[index] ?? "", hostPort)),
      );
      const owner = `endpoint/green/${names[winner]}`;
      expect(refused).toMatchObject({
        code: Status.ALREADY_EXISTS,
        resource: { type: "port", name: `node-2:${hostPort}`, owner },
      });
      for (const { client } of [one, other]) {
        const gone = await refusal(client.cluster.getEndpoint({ network: "green", name: names[1 - winner] ?? "" }));
        expect(gone.code).toBe(Status.NOT_FOUND);
      }
      const known = await owners();
      for (const those of known) expect(those.filter((one) => one === owner)).toHaveLength(1);
      for (const those of known) expect(those).toHaveLength(round + 1);
    }
  });

  it("an operator's reservation or an endpoint has it, not both", async () => {
    const before = (await owners())[0]?.length ?? 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const first = 9_100 + 2 * round;
      const { winner, refused } = await race([
        reserve(one, `ingress-${round}`, first),
        // The second port of the block: the two have no key in common.
        publish(other, `app-${round}`, first + 1),
      ]);
      const owner = winner === 0 ? `reservation/ingress-${round}` : `endpoint/green/app-${round}`;
      expect(refused).toMatchObject({ code: Status.ALREADY_EXISTS, resource: { type: "port", owner } });
      const missing =
        winner === 0
          ? one.client.cluster.getEndpoint({ network: "green", name: `app-${round}` })
          : one.client.cluster.getPortReservation({ name: `ingress-${round}` });
      expect((await refusal(missing)).code).toBe(Status.NOT_FOUND);
      for (const those of await owners()) expect(those).toHaveLength(before + round + 1);
    }
  });
});
