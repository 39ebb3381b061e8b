import { beforeAll, describe, expect, it } from "vitest";
import type { Authority } from "../domain/resources.js";
import { type AuthorityPlan, bundleOf, needsSuccessor, planAuthorities } from "./authorities.js";
import { createAuthority } from "./x509.js";

const LIFETIME_MS = 1_000;
const START_MS = Date.UTC(2030, 0, 1);

describe("the rotation of authorities", () => {
  let first: Authority;
  let second: Authority;

  beforeAll(async () => {
    const make = async (name: string, createTimeMs: number) => {
      return { name, ...(await createAuthority(createTimeMs)), createTimeMs, revision: 1n };
    };
    first = await make("a", START_MS);
    second = await make("b", START_MS + 5_000);
  });

  function planAt(timeMs: number, ...authorities: Authority[]): AuthorityPlan {
    const plan = planAuthorities(authorities, timeMs, LIFETIME_MS);
    if (!plan) throw new Error("no plan");
    return plan;
  }

  const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);

  it("has nothing to do with one authority", () => {
    expect(planAuthorities([], START_MS, LIFETIME_MS)).toBeUndefined();
    const plan = planAt(START_MS, first);
    expect(plan.signing.name).toBe("a");
    expect(names(plan.trusted)).toEqual(["a"]);
    expect(plan.nextChangeMs).toBeUndefined();
  });

  it("goes: trusted, signing after one lifetime, the former retired after another", () => {
    const announced = planAt(START_MS + 5_000, second, first);
    expect(announced.signing.name).toBe("a");
    expect(names(announced.trusted)).toEqual(["a", "b"]);
    expect(announced.nextChangeMs).toBe(START_MS + 6_000);
    expect(bundleOf(announced).match(/BEGIN CERTIFICATE/g)).toHaveLength(2);

    const switched = planAt(START_MS + 6_000, first, second);
    expect(switched.signing.name).toBe("b");
    expect(names(switched.trusted)).toEqual(["b", "a"]);
    expect(switched.nextChangeMs).toBe(START_MS + 7_000);

    const done = planAt(START_MS + 7_000, first, second);
    expect(names(done.trusted)).toEqual(["b"]);
    expect(names(done.retired)).toEqual(["a"]);
    expect(done.nextChangeMs).toBeUndefined();
    // Once the retired one is deleted, the other is the first.
    expect(planAt(START_MS + 7_001, second).signing.name).toBe("b");
  });

  it("begins by itself a year before the newest ends", () => {
    const tenYearsMs = 10 * 365 * 86_400_000;
    expect(needsSuccessor([first], START_MS + tenYearsMs * 0.85, tenYearsMs)).toBe(false);
    expect(needsSuccessor([first], START_MS + tenYearsMs * 0.95, tenYearsMs)).toBe(true);
  });
});
