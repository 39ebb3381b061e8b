/** Keys in order against the plain definition: an array that is sorted before it is read. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareKeys, SortedKeys } from "./sorted-keys.js";

/** Few letters, so that keys are equal, prefixes of each other, and differ by what sorts around a slash. */
const KEY = fc.string({ unit: fc.constantFrom("a", "b", "/", "-", "~"), maxLength: 4 });

const STEP = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("add" as const), key: KEY }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("load" as const), key: KEY }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("delete" as const), key: KEY }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("range" as const),
      prefix: KEY,
      after: fc.option(KEY, { nil: undefined }),
      from: fc.option(KEY, { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("backwards" as const),
      count: fc.integer({ min: -1, max: 5 }),
      before: fc.option(KEY, { nil: undefined }),
    }),
  },
);

/** What an order by parts is: that of the parts, one after the other. */
function byParts(one: string, other: string): number {
  const rank = (character: string) => (character === "/" ? 0 : character.charCodeAt(0) + 1);
  const [a, b] = [one, other].map((key) => Array.from(key, rank)) as [number[], number[]];
  const at = a.findIndex((value, index) => value !== b[index]);
  return at === -1 ? a.length - b.length : (a[at] as number) - (b[at] ?? -1);
}

describe("sorted keys", () => {
  it("are ordered part by part", () => {
    fc.assert(
      fc.property(KEY, KEY, (one, other) => {
        expect(Math.sign(compareKeys(one, other))).toBe(Math.sign(byParts(one, other)));
      }),
    );
  });

  it("are what a sorted array is", () => {
    fc.assert(
      fc.property(fc.array(STEP, { size: "large", maxLength: 250 }), (steps) => {
        const keys = new SortedKeys();
        const model = new Set<string>();
        const inOrder = () => [...model].sort(byParts);
        for (const step of steps) {
          if (step.kind === "add" || step.kind === "load") {
            if (!model.has(step.key)) keys[step.kind](step.key);
            model.add(step.key);
          } else if (step.kind === "delete") {
            if (model.delete(step.key)) keys.delete(step.key);
            else expect(() => keys.delete(step.key)).toThrow("is not there");
          } else if (step.kind === "range") {
            const { prefix, after, from = prefix } = step;
            // From there on up to the first that has another beginning.
            const candidates = inOrder()
              .filter((key) => byParts(key, from) >= 0)
              .filter((key) => after === undefined || byParts(key, after) > 0);
            const end = candidates.findIndex((key) => !key.startsWith(prefix));
            const expected = end === -1 ? candidates : candidates.slice(0, end);
            expect([...keys.range(prefix, step)]).toEqual(expected);
          } else {
            const { count, before } = step;
            const expected = inOrder().filter((key) => before === undefined || byParts(key, before) < 0);
            expect(keys.backwards(count, before)).toEqual(expected.reverse().slice(0, count < 0 ? undefined : count));
          }
          expect(keys.size).toBe(model.size);
        }
        for (const prefix of ["", "a", "a/", "b-"]) {
          expect(keys.first(prefix)).toBe(inOrder().find((key) => key.startsWith(prefix)));
        }
        keys.clear();
        expect([keys.size, ...keys.range("")]).toEqual([0]);
      }),
    );
  });

  it("of ten thousand, loaded, added and deleted in any order", () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `net-${index % 50}/ep-${(index * 7_919) % 10_000}`);
    const keys = new SortedKeys();
    for (const name of names.slice(0, 6_000)) keys.load(name);
    for (const name of names.slice(6_000)) keys.add(name);
    for (const name of names.filter((_, index) => index % 3 === 0)) keys.delete(name);
    const left = names.filter((_, index) => index % 3 !== 0).sort(byParts);
    expect([...keys.range("")]).toEqual(left);
    expect([...keys.range("net-1/")]).toEqual(left.filter((name) => name.startsWith("net-1/")));
    expect(keys.backwards(-1)).toEqual(left.toReversed());
  });
});
