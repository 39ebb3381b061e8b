/** AgentService.Report: reads what a node reports, beside the commands that are being written to it. */
import type * as proto from "@slimfast/proto";
import type { CallContext } from "nice-grpc";
import { validName } from "../domain/validation.js";
import { invalidField, notFound } from "../errors.js";
import type { ReportHub, ReportStream } from "./report-hub.js";

export interface NodesOfReports {
  /** Whether a node of this name is registered. */
  isNode(name: string): boolean;
  /** Which of the node's endpoints have processes that may use io_uring: all of them. */
  noteUnguarded(node: string, endpoints: readonly proto.UnguardedEndpoint[]): Promise<void>;
}

export function reportMethod(hub: ReportHub, { isNode, noteUnguarded }: NodesOfReports) {
  async function take(stream: ReportStream, request: proto.ReportRequest): Promise<void> {
    hub.take(stream, request);
    // Waited for: they are in order, and one that cannot be kept ends the stream, so that it is said again.
    if (request.unguarded && hub.isPresent(stream)) await noteUnguarded(stream.node, request.unguarded.endpoints);
  }

  async function takeAll(
    stream: ReportStream,
    first: proto.ReportRequest,
    rest: AsyncIterator<proto.ReportRequest>,
  ): Promise<void> {
    try {
      await take(stream, first);
      for (let item = await rest.next(); !item.done; item = await rest.next()) await take(stream, item.value);
      stream.end();
    } catch (error) {
      stream.end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  return async function* report(
    request: AsyncIterable<proto.ReportRequest>,
    context: CallContext,
  ): AsyncGenerator<proto.ReportResponse, void, undefined> {
    const requests = request[Symbol.asyncIterator]();
    const first = await requests.next();
    if (first.done) return;
    const node = validName("node", first.value.node);
    if (!isNode(node)) throw notFound("node", node);
    if (!first.value.snapshot) throw invalidField("snapshot", "must be in the first request");
    const stream = hub.open(node);
    const end = () => stream.end();
    context.signal.addEventListener("abort", end);
    void takeAll(stream, first.value, requests);
    try {
      yield* stream.commands();
    } finally {
      context.signal.removeEventListener("abort", end);
      hub.closed(stream);
    }
  };
}
