/** Allocation, whatever is taken: nothing is given twice, and nothing free is overlooked. */
import { containsIp, containsRange, formatIpPrefix, type IpPrefix, parseIpPrefix } from "@slimfast/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { knownPrefix } from "./address-space.js";
import {
  findPortConflict,
  lastPort,
  lowestFreeBlock,
  lowestFreeSubnet,
  nearestFreeBlock,
  nextFree,
  portsOverlap,
} from "./allocation.js";
import type { PortRange } from "./resources.js";

const RANGE = { first: 100, last: 160 };
const block = fc.record({ first: fc.integer({ min: 90, max: 170 }), count: fc.integer({ min: 1, max: 12 }) });
const blocks = fc.array(block, { maxLength: 12 });
const count = fc.integer({ min: 1, max: 20 });

/** First ports of all free blocks, found by trying each. */
function freeBlocks(size: number, taken: readonly PortRange[]): number[] {
  const found: number[] = [];
  for (let first = RANGE.first; first + size - 1 <= RANGE.last; first += 1) {
    if (!taken.some((other) => portsOverlap({ first, count: size }, other))) found.push(first);
  }
  return found;
}

describe("blocks of ports", () => {
  it("are the lowest that are free, wherever there is one", () => {
    fc.assert(
      fc.property(count, blocks, (size, taken) => {
        expect(lowestFreeBlock(RANGE, size, taken)).toBe(freeBlocks(size, taken)[0]);
      }),
      { numRuns: 1_000 },
    );
  });

  it("are the nearest that are free", () => {
    fc.assert(
      fc.property(block, blocks, (wanted, taken) => {
        const distances = freeBlocks(wanted.count, taken).map((first) => Math.abs(first - wanted.first));
        const nearest = nearestFreeBlock(RANGE, wanted, taken);
        if (nearest === undefined) {
          expect(distances).toEqual([]);
        } else {
          expect(freeBlocks(wanted.count, taken)).toContain(nearest);
          expect(Math.abs(nearest - wanted.first)).toBe(Math.min(...distances));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("that were all checked before they were taken never overlap", () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 40 }), (wanted) => {
        const held: { owner: string; ports: PortRange }[] = [];
        for (const [index, ports] of wanted.entries()) {
          const owner = `reservation/${index}`;
          if (!findPortConflict(ports, owner, held)) held.push({ owner, ports });
        }
        const all = held.flatMap(({ ports }) =>
          Array.from({ length: lastPort(ports) - ports.first + 1 }, (_, offset) => ports.first + offset),
        );
        expect(new Set(all).size).toBe(all.length);
      }),
    );
  });
});

describe("node subnets", () => {
  it.each([
    ["10.32.0.0/24", 25],
    ["10.32.0.0/24", 28],
    ["10.32.0.0/24", 30],
    ["fd00:32::/64", 65],
    ["fd00:32::/120", 124],
    ["fd00:32::/48", 126],
  ] as const)("of %s, of length %i, fill it without overlap, and are reused when they are free", (text, bits) => {
    const prefix = knownPrefix(text);
    fc.assert(
      fc.property(fc.array(fc.nat(100), { maxLength: 120 }), (steps) => {
        const held: IpPrefix[] = [];
        for (const step of steps) {
          if (step % 3 === 0 && held.length > 0) {
            held.splice(step % held.length, 1);
            continue;
          }
          const subnet = lowestFreeSubnet(prefix, bits, held);
          if (!subnet) {
            expect(held).toHaveLength(2 ** (bits - prefix.bits));
            continue;
          }
          const { family, first } = subnet;
          expect(parseIpPrefix(formatIpPrefix(subnet))).toEqual(subnet);
          expect(containsRange(prefix, subnet)).toBe(true);
          const isInside = (outer: IpPrefix, value: bigint) => containsIp(outer, { family, value });
          expect(held.some((other) => isInside(other, first) || isInside(subnet, other.first))).toBe(false);
          held.push(subnet);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("addresses", () => {
  it("are free, in the range, and refused only when all are taken", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.nat(40),
        fc.uniqueArray(fc.nat(25), { maxLength: 26 }),
        (size, start, taken) => {
          const range = { first: 3, last: 3 + size - 1 };
          const sorted = taken.toSorted((one, other) => one - other);
          const chosen = nextFree(range, start, (from) => sorted.filter((number) => number >= from));
          const free = Array.from({ length: size }, (_, index) => 3 + index).filter(
            (number) => !taken.includes(number),
          );
          if (chosen === undefined) expect(free).toEqual([]);
          else expect(free).toContain(chosen);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
