import { describe, expect, it } from "vitest";
import { type CallRule, mergeProfile, type SeccompProfile } from "./profile.js";

const OPEN: SeccompProfile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [] };

/** In the manner of a runtime's default profile: a list of what is allowed, AF_VSOCK left out. */
const LISTED: SeccompProfile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  syscalls: [
    { names: ["read", "write", "io_uring_setup"], action: "SCMP_ACT_ALLOW" },
    { names: ["io_uring_enter"], action: "SCMP_ACT_ALLOW" },
    { names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 40, op: "SCMP_CMP_NE" }] },
  ],
};

function rulesFor(profile: SeccompProfile, name: string): CallRule[] {
  return profile.syscalls.filter((rule) => rule.names.includes(name));
}

describe("mergeProfile", () => {
  it("names the agent and the endpoint", () => {
    expect(mergeProfile(OPEN, "/run/agent.sock", "who")).toMatchObject({
      listenerPath: "/run/agent.sock",
      listenerMetadata: "who",
    });
  });

  it("sends TCP sockets, and nothing else, to the agent", () => {
    const notified = rulesFor(mergeProfile(OPEN, "p", "m"), "socket").filter(
      (rule) => rule.action === "SCMP_ACT_NOTIFY",
    );
    const calls = notified.map((rule) => rule.args?.map((argument) => argument.valueTwo ?? argument.value));
    expect(calls).toEqual([
      [2, 1, 0],
      [2, 1, 6],
      [10, 1, 0],
      [10, 1, 6],
    ]);
  });

  it("keeps the rules of the base profile but those that would undo ours", () => {
    const merged = mergeProfile(LISTED, "p", "m");
    expect(merged.defaultAction).toBe("SCMP_ACT_ERRNO");
    expect(merged.architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]);
    expect(merged.syscalls[0]).toEqual({ names: ["read", "write"], action: "SCMP_ACT_ALLOW" });
    for (const call of ["io_uring_setup", "io_uring_enter", "io_uring_register"]) {
      expect(rulesFor(merged, call).map((rule) => rule.action)).toEqual(["SCMP_ACT_ERRNO"]);
    }
    expect(rulesFor(merged, "socket").every((rule) => (rule.args ?? []).length > 0)).toBe(true);
  });

  it("still allows the other families and types that the base profile allows", () => {
    const allowed = rulesFor(mergeProfile(LISTED, "p", "m"), "socket").filter(
      (rule) => rule.action === "SCMP_ACT_ALLOW",
    );
    const allowsFamily = (family: number) =>
      allowed.some((rule) => rule.args?.length === 1 && rule.args[0]?.value === family);
    expect([allowsFamily(1), allowsFamily(16), allowsFamily(40), allowsFamily(2)]).toEqual([true, true, false, false]);
    const udp = allowed.filter((rule) => rule.args?.[0]?.value === 2 && rule.args[1]?.valueTwo === 2);
    expect(udp).toHaveLength(1);
  });

  it("allows no sockets that the base profile denies", () => {
    const none: SeccompProfile = {
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }],
    };
    const rules = rulesFor(mergeProfile(none, "p", "m"), "socket");
    expect(rules.some((rule) => rule.action === "SCMP_ACT_ALLOW")).toBe(false);
  });

  it("has exactly one rule for each ioctl, and sends those about interfaces to the agent", () => {
    const base = { ...LISTED, syscalls: [...LISTED.syscalls, { names: ["ioctl"], action: "SCMP_ACT_ALLOW" }] };
    const rules = rulesFor(mergeProfile(base, "p", "m"), "ioctl");
    const itself = new Set([0x8901, 0x8902, 0x8903, 0x8904, 0x8905, 0x8906, 0x8907, 0x894b]);
    for (let command = 0; command <= 0xffff; command += 1) {
      const fitting = rules.filter(({ args: [test] = [] }) => test && (command & test.value) === test.valueTwo);
      const expected = command >> 8 === 0x89 && !itself.has(command) ? "SCMP_ACT_NOTIFY" : "SCMP_ACT_ALLOW";
      const actions = fitting.map(({ action }) => action);
      if (actions.length !== 1 || actions[0] !== expected) expect({ command, actions }).toEqual({ command, expected });
    }
    expect(rulesFor(mergeProfile(OPEN, "p", "m"), "ioctl").every(({ action }) => action === "SCMP_ACT_NOTIFY")).toBe(
      true,
    );
    const denied = rulesFor(mergeProfile(LISTED, "p", "m"), "ioctl");
    expect(denied.some(({ action }) => action === "SCMP_ACT_ALLOW")).toBe(false);
  });
});
