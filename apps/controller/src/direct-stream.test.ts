// biome-ignore-all lint/suspicious/noConfusingVoidType: nice-grpc says so of how a call ends
/** Streams past the middleware: what the caller gets, and what the layers around the call see. */
import { type CallContext, Metadata, type ServerMiddleware } from "nice-grpc";
import { beforeEach, describe, expect, it } from "vitest";
import { directStreamOf, directStreams } from "./direct-stream.js";
import { composed } from "./services/registry.js";

/** What the layer in the middle saw of the call. */
let seen: string[];
/** What the service did when it ended. */
let cleaned: boolean;

beforeEach(() => {
  seen = [];
  cleaned = false;
});

const observing: ServerMiddleware = async function* observe(call, context) {
  seen.push("begins");
  try {
    return yield* call.next(call.request as never, context);
  } catch (error) {
    seen.push(`fails: ${(error as Error).message}`);
    throw new Error(`converted: ${(error as Error).message}`);
  } finally {
    seen.push("ends");
  }
};

/** Innermost, as the access middleware is. */
const passing: ServerMiddleware = async function* pass(call, context) {
  const source = call.next(call.request as never, context);
  try {
    await directStreamOf(context).pass(source as never, (response) => response);
  } finally {
    void source.return(undefined as never);
  }
};

function start(service: () => AsyncGenerator<number, void, undefined>) {
  const context: CallContext = {
    metadata: Metadata(),
    peer: "test",
    header: Metadata(),
    sendHeader: () => undefined,
    trailer: Metadata(),
    signal: new AbortController().signal,
  };
  const call = {
    method: { path: "/test/Numbers", requestStream: false, responseStream: true, options: {} },
    requestStream: false,
    responseStream: true,
    request: {},
    next: service,
  };
  const numbers = composed([directStreams, observing, passing])?.(call as never, context) as AsyncGenerator<
    number,
    void,
    undefined
  >;
  return { numbers, context };
}

async function* endless(): AsyncGenerator<number, void, undefined> {
  try {
    for (let number = 1; ; number += 1) yield number;
  } finally {
    cleaned = true;
  }
}

/** Says one number, and then nothing. */
async function* silent(): AsyncGenerator<number, void, undefined> {
  yield 1;
  await new Promise(() => undefined);
}

describe("a stream past the layers", () => {
  it("brings all responses, and the layers see its end", async () => {
    const { numbers } = start(async function* () {
      yield 1;
      expect(seen).toEqual(["begins"]);
      yield 2;
    });
    const got: number[] = [];
    for await (const number of numbers) got.push(number);
    expect(got).toEqual([1, 2]);
    expect(seen).toEqual(["begins", "ends"]);
    expect(await numbers.next()).toMatchObject({ done: true });
  });

  it("fails as the layers say, at its beginning and later", async () => {
    const { numbers } = start(async function* () {
      yield 1;
      throw new Error("broken");
    });
    expect(await numbers.next()).toEqual({ done: false, value: 1 });
    await expect(numbers.next()).rejects.toThrow("converted: broken");
    expect(seen).toEqual(["begins", "fails: broken", "ends"]);
    await expect(numbers.next()).rejects.toThrow("converted: broken");

    // biome-ignore lint/correctness/useYield: a layer that refuses every call
    const refused: ServerMiddleware = async function* () {
      throw new Error("not for you");
    };
    const call = { responseStream: true, request: {}, next: endless };
    const context = { metadata: Metadata() };
    const none = composed([directStreams, refused])?.(call as never, context as never);
    await expect(none?.next()).rejects.toThrow("not for you");
  });

  it("is ended from within while the caller waits, and between two responses", async () => {
    const waiting = start(silent);
    await waiting.numbers.next();
    const next = waiting.numbers.next();
    directStreamOf(waiting.context).end(new Error("revoked"));
    await expect(next).rejects.toThrow("converted: revoked");
    expect(seen).toEqual(["begins", "fails: revoked", "ends"]);

    const reading = start(endless);
    await reading.numbers.next();
    directStreamOf(reading.context).end(new Error("revoked"));
    await expect(reading.numbers.next()).rejects.toThrow("converted: revoked");
    expect(cleaned).toBe(true);
  });

  it("is given up by its caller, and one that has not begun is never begun", async () => {
    const { numbers } = start(endless);
    await numbers.next();
    expect(await numbers.return()).toEqual({ done: true, value: undefined });
    expect([seen, cleaned]).toEqual([["begins", "fails: CANCELLED: the caller has gone", "ends"], true]);

    seen = [];
    const other = start(endless).numbers;
    expect(await other.return()).toEqual({ done: true, value: undefined });
    expect(seen).toEqual([]);
  });

  it("whose response could not be taken fails with that", async () => {
    const { numbers } = start(endless);
    await numbers.next();
    await expect(numbers.throw(new Error("too large"))).rejects.toThrow("converted: too large");
    expect(cleaned).toBe(true);
  });
});
