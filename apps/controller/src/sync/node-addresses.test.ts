import type { NodeAddresses } from "@slimfast/proto";
import { expect, it } from "vitest";
import type { Node } from "../domain/resources.js";
import type { Change } from "../store/store.js";
import { mergedAddresses, NodeAddressBook } from "./node-addresses.js";

const changes = (added: number[], removed: number[]): NodeAddresses => ({ isComplete: false, added, removed });

it("collects what changes, and says what there is now of it", () => {
  const nodes = new Map<string, Node>();
  const book = new NodeAddressBook({ listNodes: () => [...nodes.values()] });
  const set = (name: string, underlayAddress: string | undefined): boolean => {
    const before = nodes.get(name);
    const after = underlayAddress === undefined ? undefined : ({ name, underlayAddress } as Node);
    if (after) nodes.set(name, after);
    else nodes.delete(name);
    return book.note({ kind: "node", key: name, before, after } as Change);
  };
  expect(set("a", "10.200.0.1")).toBe(true);
  expect(set("a", "10.200.0.1")).toBe(false);
  set("b", "255.255.255.254");
  expect(book.all()).toEqual({ isComplete: true, added: [0x0ac80001, 0xfffffffe], removed: [] });
  expect(book.take()).toEqual(changes([0x0ac80001, 0xfffffffe], []));
  // One that passes from node to node is there all the time, in whichever order that is told.
  set("c", "10.200.0.1");
  set("a", undefined);
  set("b", undefined);
  set("d", "10.200.0.9");
  set("d", undefined);
  expect(book.take()).toEqual(changes([0x0ac80001], [0xfffffffe, 0x0ac80009]));
  expect(book.take()).toEqual(changes([], []));
});

it("adds up what has not been told yet", () => {
  expect(mergedAddresses([])).toBeUndefined();
  const one = changes([1, 2], [3]);
  expect(mergedAddresses([one])).toBe(one);
  expect(mergedAddresses([one, changes([3], [1]), changes([4], [])])).toEqual(changes([3, 2, 4], [1]));
});
