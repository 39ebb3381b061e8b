/** What holds for all streams together: agents that do not answer, and many at once. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SyncResponse } from "@slimfast/proto";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FIRST_STATES_AT_A_TIME, STREAMS_PER_TURN } from "../limits.js";
import { Cluster } from "../services/cluster.js";
import { openSqliteStore } from "../store/sqlite-store.js";
import type { Store } from "../store/store.js";
import { eventually } from "../testing/operations.js";
import { SyncHub, type SyncStream } from "./hub.js";

const ACK_TIMEOUT_MS = 100;

let directory: string;
let store: Store;
let cluster: Cluster;
let hub: SyncHub;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-hub-test-"));
  store = openSqliteStore(directory);
  hub = new SyncHub(store, pino({ level: "silent" }), undefined, ACK_TIMEOUT_MS);
  cluster = new Cluster(store, hub);
});

afterEach(async () => {
  hub.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function register(number: number): Promise<string> {
  const name = `node-${number}`;
  const underlayAddress = `10.200.${number >> 8}.${number & 255}`;
  const place = { underlayAddress, frontPorts: { first: 7_100, count: 16 }, labels: {}, agentVersion: "" };
  await cluster.registerNode({ name, ...place });
  return name;
}

/** Opens a stream whose responses are acknowledged as they come, or not at all. */
function open(node: string, answers: boolean): { stream: SyncStream; done: Promise<unknown>; got: SyncResponse[] } {
  const stream = hub.open({ node, known: [], storeId: "", readsNodeAddresses: false });
  const got: SyncResponse[] = [];
  const read = async () => {
    for await (const response of stream.responses()) {
      got.push(response);
      if (answers) hub.acknowledge(stream, response.nonce, "");
    }
  };
  return { stream, done: read().catch((error: unknown) => error), got };
}

describe("an agent that does not acknowledge", () => {
  it("loses its stream, is shown as out of step, and holds up nobody", async () => {
    await register(1);
    await register(2);
    const stuck = open("node-1", false);
    const other = open("node-2", true);
    expect(await stuck.done).toMatchObject({
      code: "aborted",
      message: "the agent of node node-1 has not acknowledged changes for 0.1 s: open another stream",
    });
    expect(stuck.got).toHaveLength(1);
    expect(hub.isConnected("node-1")).toBe(false);
    await eventually("the node is out of step", () => hub.syncError("node-1") !== "");
    expect(hub.syncError("node-1")).toBe("has not acknowledged changes for 0.1 s");
    // One that has answered everything is not overdue, however long nothing happens.
    expect(hub.isConnected("node-2")).toBe(true);
    expect(other.got).toHaveLength(1);

    const again = open("node-1", true);
    await eventually("the node is in step again", () => hub.syncError("node-1") === "");
    expect(again.got[0]?.nodes).toHaveLength(2);
  });
});

describe("more streams than are served at once", () => {
  const COUNT = 2 * FIRST_STATES_AT_A_TIME + STREAMS_PER_TURN;

  it("get their first states in turn, some of them behind others that are stuck, and every change", async () => {
    for (let number = 1; number <= COUNT; number += 1) await register(number);
    const streams = Array.from({ length: COUNT }, (_, index) =>
      open(`node-${index + 1}`, index >= FIRST_STATES_AT_A_TIME),
    );
    const answering = streams.slice(FIRST_STATES_AT_A_TIME);
    expect(streams.some(({ got }) => got.length > 0)).toBe(false);
    await eventually("all that answer are in step", () => answering.every(({ got }) => got.length > 0));
    await register(COUNT + 1);
    await eventually("all of them know the new node", () =>
      answering.every(({ got }) =>
        got.some(({ nodes }) => nodes.length === 1 && nodes[0]?.name === `node-${COUNT + 1}`),
      ),
    );
  });
});
