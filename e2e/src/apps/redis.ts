/** redis: load with and without lasting connections, replication to the client's container, publishing to subscribers. */
import { expect } from "vitest";
import { until } from "../fixture/until.js";
import type { App } from "./stage.js";

const PORT = 6_379;
const REPLICA_PORT = 6_380;

export const REDIS: App = {
  name: "redis with a replica",
  async play({ server, client, directory }) {
    const redis = (port: number, ...options: string[]) => [
      ...["redis-server", "--port", String(port), "--bind", "*", "-::*", "--protected-mode", "no", "--save", ""],
      ...["--dir", directory, "--repl-diskless-sync-delay", "0", ...options],
    ];
    await server.start(redis(PORT), { port: PORT });
    const cli = ["redis-cli", "-h", server.address, "-p", String(PORT)];
    expect(await client.output([...cli, "set", "early", "1"])).toBe("OK\n");

    await client.start(redis(REPLICA_PORT, "--replicaof", server.address, String(PORT)), { port: REPLICA_PORT });
    const ofReplica = ["redis-cli", "-h", client.address, "-p", String(REPLICA_PORT)];
    const replicated = async (key: string, value: string) =>
      until(async () => (await server.output([...ofReplica, "get", key])) === value, `${key} is replicated`);
    await replicated("early", "1\n");
    await client.output([...cli, "set", "late", "2"]);
    await replicated("late", "2\n");
    expect(await server.output([...cli, "info", "replication"])).toContain(
      `slave0:ip=${client.address},port=${REPLICA_PORT},state=online`,
    );

    const subscriber = await client.start([...cli, "subscribe", "news"], { prints: /subscribe\nnews\n1/ });
    expect(await server.output([...cli, "publish", "news", "hello"])).toBe("1\n");
    await subscriber.prints(/message\nnews\nhello/);
    const list = await server.output([...cli, "client", "list", "type", "pubsub"]);
    const [, peer, own] = /addr=(\S+):\d+ laddr=(\S+) /.exec(list) ?? [];
    expect([peer, own]).toEqual([client.host, `${server.host}:${PORT}`]);

    for (const keepAlive of ["1", "0"]) {
      const load = ["-h", server.address, "-p", String(PORT), "-c", "20", "-n", "1000", "-t", "set,get,lpush", "--csv"];
      const report = await client.output(["redis-benchmark", ...load, "-k", keepAlive]);
      expect(report.match(/^"(SET|GET|LPUSH)","\d/gm), report).toHaveLength(3);
    }
  },
};
