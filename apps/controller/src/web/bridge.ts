/**
 * The bridge from browsers to the services of this process: gRPC-Web, unary and server-streaming calls, for every service
 * that it is given. Derived from the definitions; there is nothing in it about any one method.
 *
 * A call passes the same middleware as over gRPC, with the caller's token as its `authorization`, so that whoever comes
 * this way may do what the token may do, and no more.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { type CallContext, Metadata, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import type { Logger } from "pino";
import { composed, type Registry, type ServedMethod } from "../services/registry.js";
import { GRPC_WEB_CONTENT_TYPE, messageFrame, readSingleMessage, trailerFrame } from "./grpc-web.js";

export interface BridgeCall {
  /** For example `/slimfast.v1.ClusterService/ListNodes`. */
  readonly path: string;
  readonly body: Buffer;
  /** The caller's token; undefined: it has none. */
  readonly token: string | undefined;
  /** `ADDRESS:PORT` of the caller. */
  readonly peer: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

type Handler = (request: unknown, context: CallContext) => AsyncGenerator<unknown, unknown, undefined>;

interface Route {
  readonly method: ServedMethod;
  readonly handle: Handler;
}

/** What an answer says before its frames. */
const ANSWER_HEADERS = {
  "content-type": GRPC_WEB_CONTENT_TYPE,
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  // Proxies would hold a stream back.
  "x-accel-buffering": "no",
} as const;

export class Bridge {
  readonly #routes = new Map<string, Route>();
  readonly #log: Logger;
  readonly #running = new Set<AbortController>();

  constructor(registry: Registry, log: Logger) {
    this.#log = log;
    const middleware = composed(registry.middleware);
    for (const { definition, implementation } of registry.services) {
      for (const [key, method] of Object.entries(definition.methods)) {
        const implement = implementation[key];
        // Browsers cannot stream requests.
        if (method.requestStream || implement === undefined) continue;
        const path = `/${definition.fullName}/${method.name}`;
        const next = handlerOf(method, implement.bind(implementation));
        const handle: Handler = middleware
          ? (request, context) => {
              const { requestStream, responseStream, options } = method;
              const descriptor = { path, requestStream, responseStream, options };
              const call = { method: descriptor, requestStream, request, responseStream, next };
              return middleware(call as unknown as ServerMiddlewareCall<unknown, unknown>, context);
            }
          : next;
        this.#routes.set(path, { method, handle });
      }
    }
  }

  get paths(): readonly string[] {
    return [...this.#routes.keys()];
  }

  /** Answers one call; resolves when the answer is out or its reader has gone. Never rejects. */
  async serve(call: BridgeCall, response: ServerResponse): Promise<void> {
    const trailer = Metadata();
    response.writeHead(200, ANSWER_HEADERS);
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    this.#running.add(abort);
    response.once("close", stop);
    try {
      // The first bytes tell the browser that the call was taken, long before a quiet stream has something to say.
      response.flushHeaders();
      const { method, answers } = this.#start(call, trailer, abort.signal);
      await pump(method, answers, response, abort.signal);
      end(response, Status.OK, "", trailer);
    } catch (error) {
      const { code, message } = this.#statusOf(error, call.path, abort.signal);
      end(response, code, message, trailer);
    } finally {
      response.off("close", stop);
      this.#running.delete(abort);
    }
  }

  /** The status of a unary call of which nothing else is wanted. */
  async statusOf(call: BridgeCall): Promise<Status> {
    const { signal } = new AbortController();
    try {
      const { answers } = this.#start(call, Metadata(), signal);
      for await (const _ of answers);
      return Status.OK;
    } catch (error) {
      return this.#statusOf(error, call.path, signal).code;
    }
  }

  #start(call: BridgeCall, trailer: Metadata, signal: AbortSignal) {
    const route = this.#routes.get(call.path);
    if (!route) throw new ServerError(Status.UNIMPLEMENTED, `there is no method ${call.path}`);
    const request = decode(route.method, call.body);
    const context: CallContext = {
      metadata: metadataOf(call),
      peer: call.peer,
      header: Metadata(),
      sendHeader: () => undefined,
      trailer,
      signal,
    };
    return { method: route.method, answers: route.handle(request, context) };
  }

  /** Ends the calls that run. */
  close(): void {
    for (const abort of this.#running) abort.abort();
  }

  #statusOf(error: unknown, path: string, signal: AbortSignal): { code: Status; message: string } {
    if (error instanceof ServerError) return { code: error.code, message: error.details };
    if (signal.aborted) return { code: Status.UNAVAILABLE, message: "the controller is stopping" };
    this.#log.error({ path, err: error }, "call failed");
    return { code: Status.INTERNAL, message: "internal error; the controller's log has the details" };
  }
}

/** The innermost part of a call, in the form that middleware expects. */
function handlerOf(method: ServedMethod, implement: (request: unknown, context: CallContext) => unknown): Handler {
  if (!method.responseStream) {
    // biome-ignore lint/correctness/useYield: a generator is how middleware calls; a unary one returns its answer
    return async function* unary(request, context) {
      return await implement(request, context);
    };
  }
  return async function* streaming(request, context) {
    yield* implement(request, context) as AsyncIterable<unknown>;
  };
}

async function pump(
  method: ServedMethod,
  answers: AsyncGenerator<unknown, unknown, undefined>,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const item = await answers.next();
    if (!item.done || (!method.responseStream && item.value !== undefined)) {
      const message = method.responseType.encode(method.responseType.fromPartial(item.value)).finish();
      const isTaken = response.write(messageFrame(message));
      if (!isTaken && !item.done) {
        try {
          await once(response, "drain", { signal });
        } catch (error) {
          await answers.return(undefined);
          throw error;
        }
      }
    }
    if (item.done) return;
  }
}

function end(response: ServerResponse, code: Status, message: string, trailer: Metadata): void {
  if (!response.writableEnded) response.end(trailerFrame(code, message, trailer));
}

function decode(method: ServedMethod, body: Buffer): unknown {
  const message = readSingleMessage(body);
  if (!message) throw new ServerError(Status.INVALID_ARGUMENT, "the body must be one gRPC-Web frame");
  try {
    return method.requestType.decode(message);
  } catch {
    throw new ServerError(Status.INVALID_ARGUMENT, `the body is no request of ${method.name}`);
  }
}

/** Only what calls may carry: never cookies, never what belongs to HTTP. */
function metadataOf({ token, headers }: BridgeCall): Metadata {
  const metadata = Metadata();
  for (const name of ["user-agent", "traceparent", "tracestate"]) {
    const value = headers[name];
    if (typeof value === "string") metadata.set(name, value);
  }
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}
