// biome-ignore-all lint/suspicious/noConfusingVoidType: nice-grpc says so of how a call ends
/**
 * The one way into all services: who is calling, whether it may, what of the answer it may see, and the audit log.
 *
 * The outcome of a changing call is in the audit log before its caller hears of it.
 */
import { type CallContext, type Metadata, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import type { AuditLog } from "../audit/audit-log.js";
import { directStreamOf } from "../direct-stream.js";
import { ClusterError } from "../errors.js";
import type { Authenticator } from "./authenticator.js";
import { checkRole, checkSubject, narrowedRequest, type SubjectLookups, visibleResponse } from "./authorisation.js";
import { type CurrentCall, withinCall } from "./call-context.js";
import type { FailureLimit } from "./failure-limit.js";
import { actorOf, type Identity, permissionDenied } from "./identity.js";
import type { OpenCalls } from "./open-calls.js";
import { type Peer, peerOf } from "./peer.js";
import { actionOf, RULES, type Rule } from "./rules.js";

/** Calls by their metadata, for what surrounds this middleware. */
const calls = new WeakMap<Metadata, CurrentCall>();

/** Who makes the call, as far as is known; empty before it was looked at. */
export function actorOfCall({ metadata }: Pick<CallContext, "metadata">): string {
  return calls.get(metadata)?.actor ?? "";
}

export interface AccessParts {
  readonly authenticator: Authenticator;
  readonly lookups: SubjectLookups;
  readonly openCalls: OpenCalls;
  readonly failures: FailureLimit;
  readonly audit: AuditLog;
  /** Notes that a token was used. */
  readonly used: (identity: Identity) => void;
}

export function accessMiddleware(parts: AccessParts) {
  const { authenticator, openCalls, used } = parts;
  return async function* guard<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ): AsyncGenerator<Response, Response | void, undefined> {
    const peer = peerOf(context);
    const { path } = call.method;
    const rule = RULES.get(path);
    const current: CurrentCall = {
      identity: { kind: "unknown" },
      actor: "unknown",
      action: actionOf(path),
      resource: "",
      peer: peer.address,
      isRecorded: false,
    };
    calls.set(context.metadata, current);
    try {
      if (!rule) throw permissionDenied(`nobody may call ${path}`);
      if (!call.requestStream) current.resource = rule.resource(call.request);
      const identity = authenticator.authenticate(context.metadata, peer);
      Object.assign(current, { identity, actor: actorOf(identity) });
      used(identity);
      checkRole(rule, identity);
      const response = yield* answer(call, context, { rule, current, parts, openCalls });
      await recordSuccess(parts.audit, rule, current);
      return response;
    } catch (error) {
      throw recordFailure(parts, { rule, current, peer }, error);
    }
  };
}

interface Guarded {
  readonly rule: Rule;
  readonly current: CurrentCall;
  readonly parts: AccessParts;
  readonly openCalls: OpenCalls;
}

async function* answer<Request, Response>(
  call: ServerMiddlewareCall<Request, Response>,
  context: CallContext,
  { rule, current, parts, openCalls }: Guarded,
): AsyncGenerator<Response, Response | void, undefined> {
  const { identity } = current;
  const { lookups } = parts;
  const abort = new AbortController();
  const forward = () => abort.abort();
  context.signal.addEventListener("abort", forward);
  if (context.signal.aborted) forward();
  let ended: ClusterError | undefined;
  let isDone = false;
  let interrupt: (error: Error) => void = () => undefined;
  let answers: AsyncGenerator<Response, Response | void, undefined> | undefined;
  const forget = openCalls.add({
    identity,
    end: (reason) => {
      ended = new ClusterError("unauthenticated", reason);
      interrupt(ended);
      abort.abort();
    },
  });
  try {
    const inner = { ...context, signal: abort.signal };
    let raw: AsyncGenerator<Response, Response | void, undefined>;
    if (call.requestStream) {
      const requests = checkedRequests(call.request, (first) => checkSubject(rule, identity, first, lookups));
      raw = call.next(requests, inner);
    } else {
      checkSubject(rule, identity, call.request, lookups);
      const request = (await narrowedRequest(rule, identity, call.request, lookups)) as Request;
      raw = call.next(request as never, inner);
    }
    answers = withinCall(current, raw);
    if (call.responseStream) {
      const stream = directStreamOf<Response>(context);
      interrupt = (error) => stream.end(error);
      if (ended) throw ended;
      await stream.pass(answers, (response) => visibleResponse(rule, identity, response));
      isDone = true;
      return undefined;
    }
    const steps = answers;
    const item = await new Promise<IteratorResult<Response, Response | void>>((resolve, reject) => {
      interrupt = reject;
      steps.next().then(resolve, reject);
      if (ended) reject(ended);
    });
    isDone = true;
    return item.value === undefined ? undefined : visibleResponse(rule, identity, item.value as Response);
  } catch (error) {
    // What an aborted service throws says less than why it was.
    throw ended ?? error;
  } finally {
    forget();
    context.signal.removeEventListener("abort", forward);
    // Not of a call that is over anyway: the exception that comes with it would be most of what an ordinary call costs.
    if (!isDone) abort.abort();
    // Its own clean-up; not waited for, since it may wait for something itself.
    answers?.return(undefined).catch(() => undefined);
  }
}

/** The requests, of which the first is checked before the service gets it. The others cost nothing. */
function checkedRequests<Request>(
  requests: AsyncIterable<Request>,
  check: (first: Request) => void,
): AsyncIterable<Request> {
  const steps = requests[Symbol.asyncIterator]();
  let isFirst = true;
  const first = async (): Promise<IteratorResult<Request>> => {
    const item = await steps.next();
    if (!item.done) check(item.value);
    return item;
  };
  const checked: AsyncIterator<Request> = {
    next: () => {
      if (!isFirst) return steps.next();
      isFirst = false;
      return first();
    },
    return: async (value) => (await steps.return?.(value)) ?? { done: true, value: undefined },
  };
  return { [Symbol.asyncIterator]: () => checked };
}

async function recordSuccess(audit: AuditLog, rule: Rule, current: CurrentCall): Promise<void> {
  // Agents announce themselves again and again; only what that changes is of interest.
  if (!rule.isChange || current.isRecorded || rule.need === "node") return;
  await audit.append({ ...entryOf(current), code: "OK", message: "" });
}

/** @returns What the caller is told. */
function recordFailure(
  { audit, failures }: AccessParts,
  { rule, current, peer }: { rule: Rule | undefined; current: CurrentCall; peer: Peer },
  error: unknown,
): unknown {
  const code = codeOf(error);
  const isRefused = code === "UNAUTHENTICATED" || code === "PERMISSION_DENIED";
  const isCancelled = code === "CANCELLED";
  if (!isRefused && (rule?.isChange !== true || isCancelled)) return error;
  const message = error instanceof ClusterError || error instanceof ServerError ? error.message : "internal error";
  const entry = { ...entryOf(current), code, message };
  if (code !== "UNAUTHENTICATED") {
    audit.note(entry);
    return error;
  }
  const limit = failures.note(peer.address);
  if (limit !== "beyond") audit.note(entry);
  if (limit === "last") {
    audit.note({
      ...entry,
      action: "authentication.limited",
      message: "further failures of this peer are not recorded",
    });
  }
  if (limit !== "beyond") return error;
  return new ClusterError("resource_exhausted", "too many failed authentications: try again in a minute");
}

function entryOf({ actor, action, resource, peer }: CurrentCall) {
  return { actor, action, resource, peer, before: "", after: "" };
}

function codeOf(error: unknown): string {
  if (error instanceof ClusterError) return error.code.toUpperCase();
  if (error instanceof ServerError) return Status[error.code];
  return error instanceof Error && error.name === "AbortError" ? "CANCELLED" : "INTERNAL";
}
