/** The API of two controllers on one etcd: what one did, the other knows, watches, repeats and refuses. */
import { Status } from "nice-grpc";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
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
