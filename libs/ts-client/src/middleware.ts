/**
 * What surrounds every call, from the outside in: conversion of errors, the end of the client, the deadline, retries.
 *
 * The deadline is outside the retries, so that it limits them all together.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type CallOptions, ClientError, type ClientMiddleware, type ClientMiddlewareCall, Status } from "nice-grpc";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { SlimFastError, toSlimFastError } from "./errors.js";
import type { RetryOptions } from "./options.js";

/** Makes every failure of a call a SlimFastError. */
export function errorMiddleware(address: string) {
  return async function* convertErrors<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    try {
      return yield* call.next(call.request, options);
    } catch (error) {
      throw toSlimFastError(error, address);
    }
  };
}

/** Ends running calls when the client is closed, and refuses those that come later. */
export function closeMiddleware(closed: AbortSignal) {
  return async function* endWithClient<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    if (closed.aborted) throw new SlimFastError("failed_precondition", "the client is closed");
    // Not AbortSignal.any: what it makes would hang on the client's signal for as long as the client lives.
    const abort = new AbortController();
    const end = () => abort.abort();
    const { signal } = options;
    closed.addEventListener("abort", end);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    try {
      return yield* call.next(call.request, { ...options, signal: abort.signal });
    } finally {
      closed.removeEventListener("abort", end);
      signal?.removeEventListener("abort", end);
    }
  };
}

/** Gives a deadline to each call that has none and is not a stream. */
export function defaultDeadlineMiddleware(timeoutMs: number): ClientMiddleware<DeadlineOptions, DeadlineOptions> {
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

/** Repeats calls that the contract declares safe to repeat while the server is unavailable. */
export function retryMiddleware(retry: Required<RetryOptions>) {
  return async function* repeat<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions,
  ) {
    const isRepeatable =
      !call.requestStream && !call.responseStream && call.method.options.idempotencyLevel !== undefined;
    if (!isRepeatable) return yield* call.next(call.request, options);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return yield* call.next(call.request, options);
      } catch (error) {
        const isUnavailable = error instanceof ClientError && error.code === Status.UNAVAILABLE;
        if (!isUnavailable || attempt >= retry.maxAttempts) throw error;
      }
      const longestMs = Math.min(retry.maxBackoffMs, retry.initialBackoffMs * 2 ** (attempt - 1));
      // Random in the upper half, so that clients which lost the server together do not come back together.
      await sleep(longestMs * (0.5 + Math.random() / 2), undefined, options.signal ? { signal: options.signal } : {});
    }
  };
}
