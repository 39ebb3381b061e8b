/**
 * What surrounds every call, from the outside in: conversion of errors, the end of the client, the request id, the
 * deadline, retries, the choice of the server, the token.
 *
 * The deadline is outside the retries, so that it limits them all together; the request id too, so that all attempts have
 * the same one. Nothing here knows which transport is beneath.
 */

import { type DeadlineOptions, deadlineMiddleware } from "nice-grpc-client-middleware-deadline";
import {
  type CallOptions,
  ClientError,
  type ClientMiddleware,
  type ClientMiddlewareCall,
  composeClientMiddleware,
  Metadata,
  Status,
} from "nice-grpc-common";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { SlimFastError, toSlimFastError } from "./errors.js";
import { DEFAULT_TIMEOUT_MS } from "./limits.js";
import { type CallSettings, DEFAULT_RETRY, type RetryOptions } from "./options.js";
import { pause } from "./pause.js";
import { withRequestId } from "./request-id.js";

/** Where calls go, as far as this module is concerned. */
export interface Destination {
  /** The server in use, for messages. */
  readonly address: string;
  /** Called before every attempt. */
  prepare(): Promise<void>;
  /** The server at this address has failed a call that is going to be repeated. */
  giveUp(address: string): void;
}

/** Knows when the client is closed, and what has to end then. */
export class Closing {
  readonly #running = new Set<() => void>();
  #isClosed = false;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @returns What undoes it. */
  onClose(end: () => void): () => void {
    this.#running.add(end);
    return () => void this.#running.delete(end);
  }

  close(): void {
    this.#isClosed = true;
    for (const end of this.#running) end();
    this.#running.clear();
  }
}

/** Everything that is in this file, in its order. */
export function surroundings(
  settings: CallSettings & { readonly metadata?: Readonly<Record<string, string>> },
  destination: Destination,
  closing: Closing,
): ClientMiddleware<DeadlineOptions> {
  const layers: ClientMiddleware<DeadlineOptions, DeadlineOptions>[] = [
    metadataMiddleware({
      ...settings.metadata,
      ...(settings.token === undefined ? {} : { authorization: `Bearer ${settings.token}` }),
    }),
    prepareMiddleware(destination),
    retryMiddleware({ ...DEFAULT_RETRY, ...settings.retry }, destination),
    deadlineMiddleware,
    defaultDeadlineMiddleware(settings.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    requestIdMiddleware,
    closeMiddleware(closing),
    errorMiddleware(destination),
  ];
  // What is composed first is invoked last.
  return layers.reduce<ClientMiddleware<DeadlineOptions>>(
    (inner, outer) => composeClientMiddleware(inner, outer),
    errorDetailsClientMiddleware,
  );
}

/** Makes every failure of a call a SlimFastError. */
function errorMiddleware(destination: Destination) {
  return async function* convertErrors<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    try {
      return yield* call.next(call.request, options);
    } catch (error) {
      throw toSlimFastError(error, destination.address);
    }
  };
}

/** Ends running calls when the client is closed, and refuses those that come later. */
function closeMiddleware(closing: Closing) {
  return async function* endWithClient<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    if (closing.isClosed) throw new SlimFastError("failed_precondition", "the client is closed");
    const abort = new AbortController();
    const end = () => abort.abort();
    const { signal } = options;
    const forget = closing.onClose(end);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    try {
      return yield* call.next(call.request, { ...options, signal: abort.signal });
    } finally {
      forget();
      signal?.removeEventListener("abort", end);
    }
  };
}

/** Gives creations an id by which the server recognises a repetition. */
async function* requestIdMiddleware<Request, Response>(
  call: ClientMiddlewareCall<Request, Response>,
  options: CallOptions,
) {
  const request = call.requestStream ? call.request : withRequestId(call.method.path, call.request);
  return yield* call.next(request, options);
}

/** Gives a deadline to each call that has none and is not a stream. */
function defaultDeadlineMiddleware(timeoutMs: number): ClientMiddleware<DeadlineOptions, DeadlineOptions> {
  return async function* addDeadline<Request, Response>(
    call: ClientMiddlewareCall<Request, Response, DeadlineOptions>,
    options: CallOptions & Partial<DeadlineOptions>,
  ) {
    const { deadline, ...rest } = options;
    const isStream = call.requestStream || call.responseStream;
    const effective = deadline ?? (isStream ? Number.POSITIVE_INFINITY : timeoutMs);
    // Timers take no infinite delay: no deadline is the absence of the option.
    if (effective === Number.POSITIVE_INFINITY) return yield* call.next(call.request, rest);
    return yield* call.next(call.request, { ...rest, deadline: effective });
  };
}

/** Repeats calls that are safe to repeat while the server is unavailable. */
function retryMiddleware(retry: Required<RetryOptions>, destination: Destination) {
  return async function* repeat<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    if (!isRepeatable(call)) return yield* call.next(call.request, options);
    for (let attempt = 1; ; attempt += 1) {
      const { address } = destination;
      try {
        return yield* call.next(call.request, options);
      } catch (error) {
        if (!isUnavailable(error) || attempt >= retry.maxAttempts) throw error;
        destination.giveUp(address);
      }
      const longestMs = Math.min(retry.maxBackoffMs, retry.initialBackoffMs * 2 ** (attempt - 1));
      // Random in the upper half, so that clients which lost the server together do not come back together.
      await pause(longestMs * (0.5 + Math.random() / 2), options.signal);
    }
  };
}

/** Declared so by the contract, or recognisable as a repetition. */
function isRepeatable<Request, Response>(call: ClientMiddlewareCall<Request, Response>): boolean {
  if (call.requestStream || call.responseStream) return false;
  if (call.method.options.idempotencyLevel !== undefined) return true;
  return isObject(call.request) && typeof call.request.requestId === "string" && call.request.requestId !== "";
}

function isUnavailable(error: unknown): boolean {
  if (error instanceof SlimFastError) return error.code === "unavailable";
  return error instanceof ClientError && error.code === Status.UNAVAILABLE;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function prepareMiddleware(destination: Destination) {
  return async function* prepare<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    await destination.prepare();
    return yield* call.next(call.request, options);
  };
}

/** What a call brings along itself wins. */
function metadataMiddleware(defaults: Readonly<Record<string, string>>) {
  const entries = Object.entries(defaults);
  return async function* addMetadata<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    if (entries.length === 0) return yield* call.next(call.request, options);
    const metadata = Metadata(options.metadata);
    for (const [key, value] of entries) if (!metadata.has(key)) metadata.set(key, value);
    return yield* call.next(call.request, { ...options, metadata });
  };
}
