/** Watches and tails against a server that breaks off, forgets, and drops. */
import { once } from "node:events";
import { ResourceKind, type WatchResourcesResponse } from "@slimfast/proto";
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type ControllerClient, connectController, SlimFastError, type WatchEvent } from "./index.js";
import { TestServer } from "./testing/server.js";

type Answer = Parameters<typeof WatchResourcesResponse.fromPartial>[0];

let server: TestServer;
let client: ControllerClient;

beforeEach(() => {
  server = new TestServer();
  client = connectController({
    address: server.address,
    retry: { maxAttempts: 3, initialBackoffMs: 1, maxBackoffMs: 2 },
  });
});

afterEach(() => {
  client.close();
  server.remove();
});

function network(name: string, revision: bigint): NonNullable<Answer["changes"]>[number] {
  const kind = ResourceKind.RESOURCE_KIND_NETWORK;
  return { kind, name, resource: { $case: "network", value: { name, revision } } };
}

function gone(name: string): NonNullable<Answer["changes"]>[number] {
  return { kind: ResourceKind.RESOURCE_KIND_NETWORK, name };
}

type Script = readonly (Answer | Status)[];

/** Plays one script for each stream that is opened; a status ends the stream, and the last script's end stays open. */
async function play(...scripts: Script[]): Promise<bigint[]> {
  const begins: bigint[] = [];
  await server.start({
    cluster: {
      async *watchResources({ revision }, { signal }) {
        begins.push(revision);
        for (const step of scripts[begins.length - 1] ?? []) {
          if (typeof step === "number") throw new ServerError(step, "as the script says");
          yield step;
        }
        if (begins.length >= scripts.length && !signal.aborted) await once(signal, "abort");
      },
    },
  });
  return begins;
}

/** What a watch says until it has been synced so many times, in short. */
async function watch(syncs: number, signal?: AbortSignal): Promise<string[]> {
  const said: string[] = [];
  let left = syncs;
  for await (const event of client.watchResources(signal ? { signal } : {})) {
    said.push(describe(event));
    if (event.type === "synced") left -= 1;
    if (left === 0) break;
  }
  return said;
}

function describe(event: WatchEvent): string {
  switch (event.type) {
    case "synced":
      return `synced ${event.revision}`;
    case "interrupted":
      return `interrupted ${event.error.code}`;
    default:
      return `${event.type} ${event.name}@${event.resource.value.revision}`;
  }
}

async function failure(call: Promise<unknown>): Promise<SlimFastError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SlimFastError)) throw new Error(`not a SlimFastError: ${error}`, { cause: error });
  return error;
}

it("reports what exists, then what changes", async () => {
  await play([
    { revision: 3n, changes: [network("a", 1n)] },
    { revision: 3n, changes: [network("b", 3n)] },
    { revision: 3n },
    { revision: 5n, changes: [network("a", 4n), network("c", 5n)] },
    { revision: 6n, changes: [gone("b"), gone("never-seen")] },
  ]);
  expect(await watch(3)).toEqual([
    ...["added a@1", "added b@3", "synced 3"],
    ...["changed a@4", "added c@5", "synced 5"],
    ...["deleted b@3", "synced 6"],
  ]);
});

it("goes on where it was after a lost connection, without duplicates", async () => {
  const begins = await play(
    [{ revision: 1n, changes: [network("a", 1n)] }, { revision: 1n }, Status.UNAVAILABLE],
    [{ revision: 2n, changes: [network("a", 1n), network("b", 2n)] }],
    // The server has ended without an error.
    [{ revision: 3n, changes: [network("c", 3n)] }],
  );
  expect(await watch(3)).toEqual([
    ...["added a@1", "synced 1", "interrupted unavailable"],
    ...["added b@2", "synced 2", "interrupted unavailable"],
    ...["added c@3", "synced 3"],
  ]);
  expect(begins).toEqual([0n, 1n, 2n]);
});

it("begins anew if the connection is lost while it lists", async () => {
  const begins = await play(
    [{ revision: 9n, changes: [network("a", 1n), network("b", 2n)] }, Status.INTERNAL],
    [{ revision: 9n, changes: [network("a", 1n)] }, { revision: 9n }],
  );
  expect(await watch(1)).toEqual(["interrupted internal", "added a@1", "synced 9"]);
  expect(begins).toEqual([0n, 0n]);
});

it("reports the difference after the server has forgotten the changes", async () => {
  const begins = await play(
    [
      { revision: 3n, changes: [network("a", 1n), network("b", 2n), network("c", 3n)] },
      { revision: 3n },
      Status.ABORTED,
    ],
    [Status.OUT_OF_RANGE],
    [{ revision: 90n, changes: [network("a", 1n), network("b", 80n), network("d", 90n)] }, { revision: 90n }],
  );
  expect(await watch(2)).toEqual([
    ...["added a@1", "added b@2", "added c@3", "synced 3", "interrupted aborted", "interrupted out_of_range"],
    ...["deleted c@3", "changed b@80", "added d@90", "synced 90"],
  ]);
  expect(begins).toEqual([0n, 3n, 0n]);
});

it("says when it is up to date again, although nothing has changed", async () => {
  await play([{ revision: 1n }, Status.UNAVAILABLE], [{ revision: 1n }]);
  expect(await watch(2)).toEqual(["synced 1", "interrupted unavailable", "synced 1"]);
});

it("ends with what would come again", async () => {
  await play([Status.PERMISSION_DENIED]);
  expect((await failure(watch(1))).code).toBe("permission_denied");
});

it("ends with its signal, also while it waits to reconnect", async () => {
  await play([{ revision: 1n }]);
  const abort = new AbortController();
  const read = async () => {
    for await (const _ of client.watchResources({ signal: abort.signal })) abort.abort();
  };
  expect((await failure(read())).code).toBe("cancelled");
  const patient = connectController({
    address: "127.0.0.1:1",
    retry: { initialBackoffMs: 600_000, maxBackoffMs: 600_000 },
  });
  const waiting = new AbortController();
  const wait = async () => {
    for await (const event of patient.watchResources({ signal: waiting.signal })) {
      if (event.type === "interrupted") setImmediate(() => waiting.abort());
    }
  };
  expect((await failure(wait())).code).toBe("cancelled");
  patient.close();
});

it("ends with its client", async () => {
  await play([{ revision: 1n }]);
  const read = async () => {
    for await (const _ of client.watchResources()) client.close();
  };
  expect(["cancelled", "failed_precondition"]).toContain((await failure(read())).code);
});

it("stops at the server when its reader stops", async () => {
  let isGone: () => void = () => undefined;
  const left = new Promise<void>((resolve) => {
    isGone = resolve;
  });
  await server.start({
    cluster: {
      async *watchResources(_request, { signal }) {
        yield { revision: 1n };
        await once(signal, "abort");
        isGone();
      },
    },
  });
  await watch(1);
  await left;
});

it("a tail of connections goes on, and says what was lost", async () => {
  let streams = 0;
  await server.start({
    operations: {
      async *tailConnections({ filter }, { signal }) {
        streams += 1;
        yield { events: [{ id: `${filter}/${streams}` }], dropped: 0n };
        if (streams === 1) throw new ServerError(Status.UNAVAILABLE, "gone");
        yield { events: [], dropped: 5n, relearnedNodes: ["node-1"] };
        yield { events: [{ id: "last" }], dropped: 7n };
        await once(signal, "abort");
      },
    },
  });
  const said: string[] = [];
  for await (const item of client.tailConnections({ filter: "f" })) {
    said.push(item.type === "event" ? item.record.id : item.type === "lost" ? `lost ${item.count}` : item.type);
    if (said.at(-1) === "last") break;
  }
  expect(said).toEqual(["f/1", "interrupted", "resumed", "f/2", "lost 5", "relearned", "lost 2", "last"]);
});

it("a tail of the audit log loses nothing", async () => {
  let streams = 0;
  await server.start({
    access: {
      async *watchAuditEntries(_request, { signal }) {
        streams += 1;
        if (streams === 1) {
          yield { entries: [{ sequence: 1n }, { sequence: 2n }] };
          throw new ServerError(Status.UNAVAILABLE, "gone");
        }
        yield { entries: [{ sequence: 6n }] };
        await once(signal, "abort");
      },
      listAuditEntries: async ({ pageToken }) =>
        pageToken === ""
          ? { entries: [{ sequence: 6n }, { sequence: 5n }], nextPageToken: "2" }
          : { entries: [{ sequence: 3n }, { sequence: 2n }], nextPageToken: "3" },
    },
  });
  const seen: bigint[] = [];
  for await (const item of client.tailAuditEntries()) {
    if (item.type === "entry") seen.push(item.entry.sequence);
    if (seen.at(-1) === 6n) break;
  }
  expect(seen).toEqual([1n, 2n, 3n, 5n, 6n]);
});
