/** Does the steps of a plan, one after the other, and keeps account: what was done, what failed, what was not tried. */
import type { ControllerClient } from "@slimfast/client";
import { messageOf } from "../exit-codes.js";
import { parseDuration } from "../resources/values.js";
import type { Step } from "./plan.js";

export interface Outcome {
  readonly step: Step;
  readonly result: "done" | "unchanged" | "failed" | "not tried";
  /** For what failed. */
  readonly error: unknown;
}

/** Stops at the first failure: what follows may need what failed. */
export async function execute(controller: ControllerClient, steps: readonly Step[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let hasFailed = false;
  for (const step of steps) {
    if (step.type === "unchanged") outcomes.push({ step, result: "unchanged", error: null });
    else if (hasFailed) outcomes.push({ step, result: "not tried", error: null });
    else {
      try {
        await take(controller, step);
        outcomes.push({ step, result: "done", error: null });
      } catch (error) {
        hasFailed = true;
        outcomes.push({ step, result: "failed", error });
      }
    }
  }
  return outcomes;
}

const EVERY_ENDPOINT = { labels: {}, prefix: "", endpoint: "" };

async function take({ cluster }: ControllerClient, step: Exclude<Step, { type: "unchanged" }>): Promise<void> {
  if (step.type === "delete") {
    const { key, etag } = step;
    if (step.kind === "Network") await cluster.deleteNetwork({ name: key, etag });
    else {
      const [network = "", name = ""] = key.split("/");
      await cluster.deletePolicy({ network, name, etag });
    }
    return;
  }
  const { wish } = step;
  if (step.type === "create") {
    if (wish.kind === "Network") await cluster.createNetwork({ network: wish.fields });
    if (wish.kind === "Policy") {
      await cluster.createPolicy({ policy: { from: [EVERY_ENDPOINT], to: [EVERY_ENDPOINT], ...wish.fields } });
    }
    if (wish.kind === "PortReservation") {
      const { lease, ...portReservation } = wish.fields;
      await cluster.createPortReservation({
        portReservation,
        ...(lease === undefined ? {} : { lease: parseDuration(lease, "lease") }),
      });
    }
    return;
  }
  const { etag } = step;
  const updateMask = step.changes.map(({ field }) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  switch (wish.kind) {
    case "Network":
      await cluster.updateNetwork({ network: { ...wish.fields, etag }, updateMask });
      return;
    case "Policy":
      await cluster.updatePolicy({ policy: { ...wish.fields, etag }, updateMask });
      return;
    case "PortReservation": {
      const { lease: _unchanged, ...portReservation } = wish.fields;
      await cluster.updatePortReservation({ portReservation: { ...portReservation, etag }, updateMask });
      return;
    }
    case "Node":
      await cluster.updateNode({ node: { ...wish.fields, etag }, updateMask });
      return;
    case "Endpoint":
      await cluster.updateEndpoint({ endpoint: { ...wish.fields, etag }, updateMask });
  }
}

/** For people: `create Network blue`. */
export function describeStep(step: Step): string {
  return step.type === "delete" ? `delete ${step.kind} ${step.key}` : `${step.type} ${step.wish.kind} ${step.wish.key}`;
}

export function describeOutcome({ step, result, error }: Outcome): string {
  const what = describeStep(step);
  switch (result) {
    case "unchanged":
      return what;
    case "done":
      return `done: ${what}`;
    case "failed":
      return `FAILED: ${what}: ${messageOf(error)}`;
    case "not tried":
      return `not tried: ${what}`;
  }
}
