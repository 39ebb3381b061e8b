import { describe, expect, it } from "vitest";
import { PushQueue } from "./push-queue.js";

describe("a push queue", () => {
  it("gives what was pushed, in order, and what comes later", async () => {
    const queue = new PushQueue<number>();
    queue.push(1);
    queue.push(2);
    const items = queue[Symbol.asyncIterator]();
    expect(await items.next()).toEqual({ done: false, value: 1 });
    expect(await items.next()).toEqual({ done: false, value: 2 });
    const waiting = items.next();
    queue.push(3);
    expect(await waiting).toEqual({ done: false, value: 3 });
  });

  it("ends after what was pushed before its end", async () => {
    const queue = new PushQueue<string>();
    queue.push("a");
    queue.end();
    queue.push("too late");
    queue.end();
    const seen: string[] = [];
    for await (const item of queue) seen.push(item);
    expect(seen).toEqual(["a"]);
  });

  it("ends a reader that waits", async () => {
    const queue = new PushQueue<string>();
    const waiting = queue[Symbol.asyncIterator]().next();
    queue.end();
    expect(await waiting).toEqual({ done: true, value: undefined });
  });
});
