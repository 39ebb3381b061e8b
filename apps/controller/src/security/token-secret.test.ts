import { describe, expect, it } from "vitest";
import { FailureLimit } from "./failure-limit.js";
import { FAILURE_BURST, FAILURE_PEERS, FAILURE_REFILL_MS } from "./limits.js";
import { hashOf, isSameHash, joinSecret, newSecret, parseSecret } from "./token-secret.js";

describe("a token's secret", () => {
  it("has 256 random bits, and is read back", () => {
    const secret = newSecret();
    expect(secret).toMatch(/^sf_[A-Za-z0-9_-]{43}$/);
    expect(newSecret()).not.toBe(secret);
    expect(parseSecret(secret)).toEqual({ secret });
    const fingerprint = "ab".repeat(32);
    expect(parseSecret(joinSecret(secret, fingerprint))).toEqual({ secret, authorityFingerprint: fingerprint });
  });

  it("is nothing else", () => {
    const secret = newSecret();
    for (const text of ["", "sf_", `${secret}x`, secret.slice(0, -1), ` ${secret}`, `${secret}\n`, `${secret}.zz`]) {
      expect(parseSecret(text)).toBeUndefined();
    }
  });

  it("is compared by its hash", () => {
    const hash = hashOf(newSecret());
    expect(isSameHash(hash, hash)).toBe(true);
    expect(isSameHash(hash, hashOf(newSecret()))).toBe(false);
    expect(isSameHash("", "")).toBe(false);
  });
});

describe("the limit of failures", () => {
  it("is by address, and wears off", () => {
    let nowMs = 0;
    const limit = new FailureLimit(() => nowMs);
    const notes = Array.from({ length: FAILURE_BURST + 2 }, (_, port) => limit.note(`10.0.0.1:${port}`));
    expect(notes.filter((note) => note === "within")).toHaveLength(FAILURE_BURST - 1);
    expect(notes.slice(-3)).toEqual(["last", "beyond", "beyond"]);
    expect(limit.note("10.0.0.2:1")).toBe("within");
    nowMs += FAILURE_REFILL_MS;
    expect(limit.note("10.0.0.1:9")).toBe("last");
    expect(limit.note("10.0.0.1:9")).toBe("beyond");
  });

  it("remembers a bounded number of peers", () => {
    const limit = new FailureLimit(() => 0);
    for (let index = 0; index < FAILURE_PEERS + 10; index += 1) limit.note(`peer-${index}:1`);
    for (let index = 0; index < FAILURE_BURST; index += 1) limit.note("peer-0:1");
    expect(limit.note("peer-0:1")).toBe("beyond");
  });
});
