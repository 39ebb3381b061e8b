/** What the benchmark and its load generators say to each other. Structured clones over the pipe of child_process.fork. */
import type { Joining } from "./enrollment.js";
import type { ClusterShape, Part } from "./shape.js";

export type Command =
  /** Networks, nodes and endpoints of the shape. */
  | { readonly kind: "populate"; readonly listen: string; readonly shape: ClusterShape }
  /** Endpoints come and go at this rate, until `stop`. */
  | { readonly kind: "change"; readonly listen: string; readonly shape: ClusterShape; readonly perSecond: number }
  | { readonly kind: "stop" }
  /** The part's nodes get their certificates, before there are nodes of their names. */
  | { readonly kind: "enroll"; readonly joining: Joining; readonly shape: ClusterShape; readonly part: Part }
  /** The part's nodes connect at once. */
  | { readonly kind: "connect"; readonly shape: ClusterShape; readonly part: Part }
  /** One more node joins, with an endpoint in a network. Its number is beyond those of the shape. */
  | {
      readonly kind: "join";
      readonly shape: ClusterShape;
      readonly agent: number;
      readonly network: number;
    }
  /** How the process has used its time since the last question. */
  | { readonly kind: "usage" }
  /** What the agents have heard, and whether they hold what they should. */
  | { readonly kind: "collect"; readonly shape: ClusterShape };

export type Answer =
  | { readonly kind: "done" }
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "connected"; readonly elapsedMs: number; readonly firstMs: number }
  | { readonly kind: "joined"; readonly elapsedMs: number; readonly resources: number }
  | { readonly kind: "changes"; readonly changes: Changes }
  | { readonly kind: "usage"; readonly usage: Usage }
  | { readonly kind: "collected"; readonly receipts: Float64Array; readonly wrong: readonly string[] };

/** What the load has done. A change is two operations: 2n creates endpoint n, 2n+1 deletes it. */
export interface Changes {
  /** By operation: when it was asked for. 0: it was not. */
  readonly askedMs: Float64Array;
  /** By operation: when the controller had answered. */
  readonly answeredMs: Float64Array;
  /** By operation: the network. */
  readonly networks: Uint16Array;
  readonly failures: readonly string[];
}

export interface Usage {
  readonly cpuSeconds: number;
  /** 99 of 100 turns of the event loop were late by less than this. */
  readonly loopDelayP99Ms: number;
  readonly residentMib: number;
}
