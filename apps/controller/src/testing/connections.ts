/** Samples of what agents report, and the agent's end of a Report stream, for tests. */

import type { AgentServiceClient } from "@slimfast/proto";
import * as proto from "@slimfast/proto";
import { Mailbox } from "./agent.js";

/** Denies what {@link connection} is about. */
export const NO_DB = {
  name: "no-db",
  network: "blue",
  action: proto.PolicyAction.POLICY_ACTION_DENY,
  from: [{ labels: { app: "web" } }],
  to: [{ endpoint: "db" }],
  ports: [{ first: 80, count: 1 }],
};

export function connection(cookie: number, values: Partial<proto.Connection> = {}): proto.Connection {
  return {
    ...proto.Connection.fromPartial({}),
    cookie: BigInt(cookie),
    network: "blue",
    endpoint: "web",
    direction: proto.Direction.DIRECTION_OUTBOUND,
    local: { address: "10.32.0.1", port: 40_000 },
    peer: { address: "10.32.0.2", port: 80 },
    underlayLocal: { address: "10.200.0.1", port: 40_000 },
    underlayPeer: { address: "10.200.0.2", port: 7_100 },
    peerEndpoint: "db",
    tier: proto.Tier.TIER_NOTIFY,
    state: "ESTABLISHED",
    setupUs: 50,
    ...values,
  };
}

function event(
  kind: keyof typeof proto.ConnectionEventKind,
  cookie: number,
  atMs: number,
  values: Partial<proto.Connection>,
  error = "",
): proto.ConnectionEvent {
  return {
    kind: proto.ConnectionEventKind[kind],
    time: new Date(atMs),
    connection: connection(cookie, values),
    error,
  };
}

export function opened(cookie: number, atMs: number, values: Partial<proto.Connection> = {}): proto.ConnectionEvent {
  return event("CONNECTION_EVENT_KIND_OPENED", cookie, atMs, values);
}

export function accepted(cookie: number, atMs: number, values: Partial<proto.Connection> = {}): proto.ConnectionEvent {
  const direction = proto.Direction.DIRECTION_INBOUND;
  return event("CONNECTION_EVENT_KIND_ACCEPTED", cookie, atMs, { direction, setupUs: 0, ...values });
}

export function closed(cookie: number, atMs: number, values: Partial<proto.Connection> = {}): proto.ConnectionEvent {
  return event("CONNECTION_EVENT_KIND_CLOSED", cookie, atMs, { state: "CLOSE", ...values });
}

export function refused(error: string, atMs = 0, values: Partial<proto.Connection> = {}): proto.ConnectionEvent {
  return event("CONNECTION_EVENT_KIND_REFUSED", 0, atMs, { state: "CLOSE", ...values }, error);
}

export function reportOf(parts: Partial<proto.ReportRequest>): proto.ReportRequest {
  return { ...proto.ReportRequest.create(), ...parts };
}

/** An agent that reports what the test tells it to, and collects commands. */
export class ReportingAgent {
  readonly node: string;
  readonly commands: bigint[] = [];
  readonly #requests = new Mailbox<proto.ReportRequest>();
  readonly #abort = new AbortController();
  /** Resolves with what ended the stream; undefined if that was no error. */
  readonly ended: Promise<unknown>;

  /** @param onCut Called for each connection that the controller wants cut. */
  constructor(
    client: { readonly agent: AgentServiceClient },
    node: string,
    snapshot: proto.Connection[] = [],
    onCut: (cookie: bigint, agent: ReportingAgent) => void = () => {},
  ) {
    this.node = node;
    this.report({ node, snapshot: { connections: snapshot } });
    this.ended = this.#read(client.agent.report(this.#requests, { signal: this.#abort.signal }), onCut);
  }

  async #read(
    responses: AsyncIterable<proto.ReportResponse>,
    onCut: (cookie: bigint, agent: ReportingAgent) => void,
  ): Promise<unknown> {
    try {
      for await (const { cutCookie } of responses) {
        this.commands.push(cutCookie);
        onCut(cutCookie, this);
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }

  report(parts: Partial<proto.ReportRequest>): void {
    this.#requests.put(reportOf(parts));
  }

  /** Reports no more. */
  async stop(): Promise<void> {
    this.#requests.close();
    await this.ended;
  }

  /** Goes away without a word, as a killed process does. */
  async vanish(): Promise<void> {
    this.#abort.abort();
    this.#requests.close();
    await this.ended;
  }
}
