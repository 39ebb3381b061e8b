/** Who the other controllers are, from a real store, and that they can be asked. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openSqliteStore } from "../store/sqlite-store.js";
import type { Store } from "../store/store.js";
import { connection, ReportingAgent } from "../testing/connections.js";
import { eventually, OperationsController } from "../testing/operations.js";
import type { ClusterView } from "./cluster-view.js";
import { StorePeers } from "./store-peers.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000 });

const VIEW: ClusterView = {
  networkCount: 0,
  endpointCount: 0,
  nodes: () => [{ name: "node-1", frontPorts: { first: 7_100, count: 1 }, isConnected: true, endpoints: 0 }],
  network: () => undefined,
  policies: () => [],
  endpoint: () => undefined,
};

let directory: string;
let store: Store;
let peers: StorePeers;
let other: OperationsController;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-peers-test-"));
  store = openSqliteStore(directory);
  peers = new StorePeers(store);
  other = await OperationsController.start(VIEW);
});

afterEach(async () => {
  peers.close();
  await other.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

function becomeMember(id: string, ...addresses: string[]): Promise<unknown> {
  return store.transaction((tx) => tx.put("controller", { id, addresses, version: "1", startTimeMs: 1 }));
}

it("knows controllers from when they come until they go, and not itself", async () => {
  await becomeMember(store.controllerId, "127.0.0.1:1");
  expect(peers.list()).toEqual([]);
  await becomeMember("other", other.listen);
  expect(peers.list().map(({ name }) => name)).toEqual(["other"]);
  const agent = new ReportingAgent(other, "node-1", [connection(1)]);
  await eventually("the connection is there", () => other.registry.liveCount === 1);
  const [peer] = peers.list();
  expect(await peer?.operations.listConnectionRecords({ localOnly: true })).toMatchObject({ totalSize: 1 });
  await agent.vanish();
  await store.transaction((tx) => tx.delete("controller", "other"));
  expect(peers.list()).toEqual([]);
});

it("connects anew to a controller that has moved", async () => {
  await becomeMember("other", "127.0.0.1:1");
  const before = peers.list();
  await becomeMember("other", other.listen);
  expect(peers.list()).toHaveLength(1);
  expect(peers.list()).not.toEqual(before);
  const [peer] = peers.list();
  expect(await peer?.operations.listConnectionRecords({ localOnly: true })).toMatchObject({ totalSize: 0 });
});
