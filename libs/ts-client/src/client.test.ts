/** The client against a server on a real unix socket. */
import { once } from "node:events";
import type { Endpoint } from "@slimfast/proto";
import { ServerError, Status } from "nice-grpc";
import {
  BadRequest,
  ErrorInfo,
  PreconditionFailure,
  ResourceInfo,
  RetryInfo,
  RichServerError,
} from "nice-grpc-error-details";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AgentClient, type ControllerClient, connectAgent, connectController, SlimFastError } from "./index.js";
import { type Answers, TestServer } from "./testing/server.js";

let server: TestServer;
let clients: (ControllerClient | AgentClient)[];

beforeEach(() => {
  server = new TestServer();
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  server.remove();
});

/** Few and short pauses, so that tests do not wait. */
const RETRY = { maxAttempts: 3, initialBackoffMs: 1, maxBackoffMs: 2 };

function controllerClient(options: Partial<Parameters<typeof connectController>[0]> = {}): ControllerClient {
  const client = connectController({ address: server.address, retry: RETRY, ...options });
  clients.push(client);
  return client;
}

async function withServer(answers: Answers): Promise<ControllerClient> {
  await server.start(answers);
  return controllerClient();
}

async function failure(call: Promise<unknown>): Promise<SlimFastError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SlimFastError)) throw new Error(`not a SlimFastError: ${error}`, { cause: error });
  return error;
}

/** Never answers; ends when the client goes away. */
async function silence(signal: AbortSignal): Promise<never> {
  await once(signal, "abort");
  throw new ServerError(Status.CANCELLED, "gone");
}

describe("errors", () => {
  it.each([
    [Status.NOT_FOUND, "not_found"],
    [Status.ALREADY_EXISTS, "already_exists"],
    [Status.INVALID_ARGUMENT, "invalid_argument"],
    [Status.RESOURCE_EXHAUSTED, "resource_exhausted"],
    [Status.FAILED_PRECONDITION, "failed_precondition"],
    [Status.ABORTED, "aborted"],
    [Status.INTERNAL, "internal"],
    [Status.UNIMPLEMENTED, "unimplemented"],
  ] as const)("of status %i have code %s and the server's message", async (status, code) => {
    const client = await withServer({
      cluster: {
        getNode: async () => {
          throw new ServerError(status, "the server's words");
        },
      },
    });
    const error = await failure(client.cluster.getNode({ name: "node-1" }));
    expect(error).toMatchObject({ code, message: "the server's words" });
    expect(error.details).toEqual({
      fieldViolations: [],
      resources: [],
      preconditionViolations: [],
      info: { reason: "", metadata: {} },
    });
    expect(error.cause).toBeInstanceOf(Error);
  });

  it("carry the details that the server gave", async () => {
    const client = await withServer({
      agent: {
        createEndpoint: async () => {
          throw new RichServerError(Status.ALREADY_EXISTS, "taken", [
            BadRequest.fromPartial({ fieldViolations: [{ field: "endpoint.address", description: "is taken" }] }),
            ResourceInfo.fromPartial({ resourceType: "endpoint", resourceName: "blue/web", owner: "node/node-1" }),
            PreconditionFailure.fromPartial({ violations: [{ type: "T", subject: "s", description: "d" }] }),
            ErrorInfo.fromPartial({ reason: "PORTS_TAKEN", metadata: { free_first: "9000" } }),
            RetryInfo.fromPartial({}),
          ]);
        },
      },
    });
    const error = await failure(client.agent.createEndpoint({}));
    expect(error.resource).toMatchObject({ name: "blue/web", owner: "node/node-1" });
    expect(error.remedy).toBe("the nearest free block begins at port 9000");
    expect(error.details).toEqual({
      fieldViolations: [{ field: "endpoint.address", description: "is taken" }],
      resources: [{ type: "endpoint", name: "blue/web", owner: "node/node-1", description: "" }],
      preconditionViolations: [{ type: "T", subject: "s", description: "d" }],
      info: { reason: "PORTS_TAKEN", metadata: { free_first: "9000" } },
    });
  });

  it("end streams too", async () => {
    const client = await withServer({
      agent: {
        async *sync() {
          yield { nonce: 1n };
          throw new RichServerError(Status.ABORTED, "another stream", []);
        },
      },
    });
    const nonces: bigint[] = [];
    const read = async () => {
      const requests = (async function* () {
        yield {};
      })();
      for await (const { nonce } of client.agent.sync(requests)) nonces.push(nonce);
    };
    expect(await failure(read())).toMatchObject({ code: "aborted", message: "another stream" });
    expect(nonces).toEqual([1n]);
  });

  it("of a refused address are thrown at once", () => {
    expect(() => connectController({ address: "nowhere" })).toThrow(SlimFastError);
    expect(() => connectAgent({ address: "nowhere" })).toThrow(SlimFastError);
  });
});

describe("a server that is not there", () => {
  it("is unavailable, by name", async () => {
    const error = await failure(controllerClient().cluster.listNodes({}));
    expect(error.code).toBe("unavailable");
    expect(error.message).toMatch(/is unavailable: connect E[A-Z]+/);
    expect(error.message).not.toContain("Resolution note");
    expect(error.message).toContain(server.address);
  });

  it("is waited for by ready", async () => {
    const client = controllerClient();
    expect((await failure(client.ready(20))).code).toBe("unavailable");
    const ready = client.ready(5_000);
    await server.start({});
    await ready;
  });

  it("is found when it comes, between two attempts", async () => {
    const client = controllerClient({ retry: { maxAttempts: 1_000, initialBackoffMs: 10, maxBackoffMs: 20 } });
    const call = client.cluster.listNodes({});
    await server.start({ cluster: { listNodes: async () => ({ nodes: [{ name: "node-1" }] }) } });
    expect((await call).nodes).toMatchObject([{ name: "node-1" }]);
  });
});

describe("retries", () => {
  function unavailable(calls: string[], name: string): () => Promise<never> {
    return async () => {
      calls.push(name);
      throw new ServerError(Status.UNAVAILABLE, "for now");
    };
  }

  it("are made for calls that the contract calls safe to repeat, and for no others", async () => {
    const calls: string[] = [];
    const client = await withServer({
      cluster: {
        getNode: unavailable(calls, "getNode"),
        createNetwork: unavailable(calls, "createNetwork"),
        deleteNode: unavailable(calls, "deleteNode"),
      },
      agent: {
        registerNode: unavailable(calls, "registerNode"),
        createEndpoint: unavailable(calls, "createEndpoint"),
        deleteEndpoint: unavailable(calls, "deleteEndpoint"),
      },
    });
    const { cluster, agent } = client;
    const failures = await Promise.all(
      [
        cluster.getNode({}),
        cluster.createNetwork({}),
        cluster.deleteNode({}),
        agent.registerNode({}),
        agent.createEndpoint({}),
        agent.deleteEndpoint({}),
      ].map(failure),
    );
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["unavailable"]));
    const counts = Object.fromEntries(
      [...new Set(calls)].map((name) => [name, calls.filter((one) => one === name).length]),
    );
    expect(counts).toEqual({
      getNode: 3,
      registerNode: 3,
      deleteEndpoint: 3,
      // Its request id makes a repetition recognisable.
      createNetwork: 3,
      deleteNode: 1,
      createEndpoint: 1,
    });
  });

  it("of a creation have one request id, and another creation has another", async () => {
    const ids: string[] = [];
    const client = await withServer({
      cluster: {
        createPolicy: async ({ requestId }) => {
          ids.push(requestId);
          if (ids.length < 3) throw new ServerError(Status.UNAVAILABLE, "for now");
          return {};
        },
      },
    });
    await client.cluster.createPolicy({ policy: { name: "a" } });
    await client.cluster.createPolicy({ policy: { name: "b" } });
    await client.cluster.createPolicy({ policy: { name: "c" }, requestId: "mine" });
    expect(ids).toHaveLength(5);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(new Set(ids.slice(0, 3)).size).toBe(1);
    expect(new Set(ids).size).toBe(3);
    expect(ids[4]).toBe("mine");
  });

  it("are not made for errors that will come again", async () => {
    let calls = 0;
    const client = await withServer({
      cluster: {
        getNode: async () => {
          calls += 1;
          throw new ServerError(Status.NOT_FOUND, "no");
        },
      },
    });
    await failure(client.cluster.getNode({}));
    expect(calls).toBe(1);
  });

  it("end with the deadline", async () => {
    const client = controllerClient({ timeoutMs: 50, retry: { maxAttempts: 1_000_000, initialBackoffMs: 1 } });
    expect((await failure(client.cluster.listNodes({}))).code).toBe("deadline_exceeded");
  });

  it("end when the caller gives up", async () => {
    const client = controllerClient({ retry: { maxAttempts: 2, initialBackoffMs: 60_000, maxBackoffMs: 60_000 } });
    const signal = AbortSignal.timeout(20);
    expect((await failure(client.cluster.listNodes({}, { signal }))).code).toBe("cancelled");
  });
});

describe("deadlines", () => {
  it("are set by default, and name the call", async () => {
    await server.start({ cluster: { getNode: (_request, { signal }) => silence(signal) } });
    const client = controllerClient({ timeoutMs: 30 });
    const error = await failure(client.cluster.getNode({}));
    expect(error).toMatchObject({ code: "deadline_exceeded", message: expect.stringContaining("GetNode") });
  });

  it("can be set for one call, or taken away", async () => {
    let answer: (() => void) | undefined;
    const asked = new Promise<void>((resolveAsked) => {
      void server.start({
        cluster: {
          getNode: (_request, { signal }) => silence(signal),
          listNodes: () =>
            new Promise((resolve) => {
              answer = () => resolve({ nodes: [] });
              resolveAsked();
            }),
        },
      });
    });
    const client = controllerClient({ timeoutMs: 60_000 });
    await client.ready(5_000);
    expect((await failure(client.cluster.getNode({}, { deadline: 20 }))).code).toBe("deadline_exceeded");
    const impatient = controllerClient({ timeoutMs: 1 });
    const call = impatient.cluster.listNodes({}, { deadline: Number.POSITIVE_INFINITY });
    await asked;
    expect((await failure(impatient.cluster.getNode({}))).code).toBe("deadline_exceeded");
    answer?.();
    expect((await call).nodes).toEqual([]);
  });

  it("are not set for streams", async () => {
    let goOn: (() => void) | undefined;
    await server.start({
      local: {
        async *watchConnectionEvents() {
          yield { dropped: 1n };
          await new Promise<void>((resolve) => {
            goOn = resolve;
          });
          yield { dropped: 2n };
        },
        getStatus: (_request, { signal }) => silence(signal),
      },
    });
    const client = connectAgent({ address: server.address, timeoutMs: 1 });
    clients.push(client);
    const dropped: bigint[] = [];
    for await (const batch of client.local.watchConnectionEvents({})) {
      dropped.push(batch.dropped);
      // A call that was begun after the stream has its deadline behind it now.
      if (batch.dropped === 1n) await failure(client.local.getStatus({}));
      goOn?.();
    }
    expect(dropped).toEqual([1n, 2n]);
  });
});

describe("lists", () => {
  const tokens: string[] = [];
  const PAGES: Record<string, { names: string[]; next: string }> = {
    "": { names: ["a", "b"], next: "2" },
    "2": { names: [], next: "3" },
    "3": { names: ["c"], next: "" },
  };

  function page(token: string): { names: string[]; next: string } {
    tokens.push(token);
    const found = PAGES[token];
    if (!found) throw new ServerError(Status.INVALID_ARGUMENT, `token ${token}`);
    return found;
  }

  const answers: Answers = {
    cluster: {
      listNetworks: async ({ pageToken }) => {
        const { names, next } = page(pageToken);
        return { networks: names.map((name) => ({ name })), nextPageToken: next };
      },
      listNodes: async ({ pageToken }) => {
        const { names, next } = page(pageToken);
        return { nodes: names.map((name) => ({ name })), nextPageToken: next };
      },
      listEndpoints: async ({ pageToken, network, node, pageSize }) => {
        const { names, next } = page(pageToken);
        return { endpoints: names.map((name) => ({ name, network, node, id: pageSize })), nextPageToken: next };
      },
      listPortReservations: async ({ pageToken, node }) => {
        const { names, next } = page(pageToken);
        return { portReservations: names.map((owner) => ({ owner, node })), nextPageToken: next };
      },
    },
  };

  beforeEach(() => {
    tokens.length = 0;
  });

  async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
    const result: Item[] = [];
    for await (const item of items) result.push(item);
    return result;
  }

  it("yield the items of all pages, empty ones included", async () => {
    const client = await withServer(answers);
    expect((await all(client.listAllNetworks())).map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect((await all(client.listAllNodes())).map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect((await all(client.listAllPortReservations({ node: "n" }))).map(({ owner, node }) => [owner, node])).toEqual([
      ["a", "n"],
      ["b", "n"],
      ["c", "n"],
    ]);
    const endpoints: Endpoint[] = await all(client.listAllEndpoints({ network: "blue", node: "n", pageSize: 7 }));
    expect(endpoints).toMatchObject(["a", "b", "c"].map((name) => ({ name, network: "blue", node: "n", id: 7 })));
  });

  it("fetch no page that nobody asked for", async () => {
    const client = await withServer(answers);
    for await (const { name } of client.listAllNodes()) if (name === "b") break;
    expect(tokens).toEqual([""]);
  });

  it("end with the signal", async () => {
    const client = await withServer(answers);
    const abort = new AbortController();
    const read = async () => {
      for await (const _ of client.listAllNodes({ signal: abort.signal })) abort.abort();
    };
    expect((await failure(read())).code).toBe("cancelled");
  });
});

describe("many calls at once", () => {
  it("are no reason for a warning", async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on("warning", note);
    const client = await withServer({ cluster: { listNodes: async () => ({}) } });
    await Promise.all(Array.from({ length: 50 }, () => client.cluster.listNodes({})));
    // Warnings are emitted in a turn of their own.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });
});

describe("close", () => {
  it("may be called twice, ends what runs and refuses what comes later", async () => {
    let isGone: (() => void) | undefined;
    const gone = new Promise<void>((resolve) => {
      isGone = resolve;
    });
    let isAsked: (() => void) | undefined;
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    const client = await withServer({
      cluster: {
        getNode: (_request, { signal }) => {
          isAsked?.();
          signal.addEventListener("abort", () => isGone?.());
          return silence(signal);
        },
      },
    });
    const running = failure(client.cluster.getNode({}));
    await asked;
    client.close();
    client.close();
    expect((await running).code).toBe("cancelled");
    await gone;
    expect((await failure(client.cluster.listNodes({}))).code).toBe("failed_precondition");
  });

  it("ends streams", async () => {
    const client = await withServer({
      agent: {
        async *sync(_request, { signal }) {
          yield { nonce: 1n };
          await silence(signal);
        },
      },
    });
    const requests = (async function* () {
      yield {};
    })();
    const read = async () => {
      for await (const _ of client.agent.sync(requests)) client.close();
    };
    expect((await failure(read())).code).toBe("cancelled");
  });
});
