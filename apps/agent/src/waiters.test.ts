import { describe, expect, it } from "vitest";
import { RevisionGate } from "./waiters.js";

const LONG = { timeoutMs: 5_000, what: "the change" };

describe("a revision gate", () => {
  it("is open for what was reached", async () => {
    const gate = new RevisionGate();
    await gate.reached(0n, LONG);
    gate.advance(4n);
    await gate.reached(4n, LONG);
    expect(gate.revision).toBe(4n);
  });

  it("lets waiters go when their number is reached, and no sooner", async () => {
    const gate = new RevisionGate();
    const passed: bigint[] = [];
    const waiting = [3n, 5n, 4n].map(async (revision) => {
      await gate.reached(revision, LONG);
      passed.push(revision);
    });
    gate.advance(2n);
    await Promise.resolve();
    expect(passed).toEqual([]);
    gate.advance(4n);
    await Promise.all([waiting[0], waiting[2]]);
    expect(passed).toEqual([3n, 4n]);
    gate.advance(9n);
    await Promise.all(waiting);
    expect(passed).toEqual([3n, 4n, 5n]);
  });

  it("goes back only when its source starts anew", async () => {
    const gate = new RevisionGate();
    gate.advance(9n);
    gate.advance(3n);
    expect(gate.revision).toBe(9n);
    gate.restart(3n);
    expect(gate.revision).toBe(3n);
    const waiting = gate.reached(4n, LONG);
    gate.restart(4n);
    await waiting;
  });

  it("says what did not come in time", async () => {
    await expect(new RevisionGate().reached(1n, { timeoutMs: 10, what: "endpoint blue/web" })).rejects.toMatchObject({
      code: "deadline_exceeded",
      message: "endpoint blue/web did not come from the controller in 10 ms",
    });
  });

  it("throws the signal's reason, at once if it is aborted already", async () => {
    const gate = new RevisionGate();
    const stop = new AbortController();
    const waiting = gate.reached(1n, { ...LONG, signal: stop.signal });
    const reason = new Error("enough");
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(gate.reached(0n, { ...LONG, signal: stop.signal })).rejects.toBe(reason);
  });
});
