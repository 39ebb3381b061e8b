import { describe, expect, it } from "vitest";
import { BASE_PROFILE } from "./base-profile.js";
import { mergeGiven } from "./given.js";
import { mergeProfile } from "./profile.js";

const LISTENER = { path: "/run/agent.sock", metadata: "slimfast/1/2" };
const PROFILE = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }] };

function merged(value?: unknown): object {
  return mergeGiven(value === undefined ? undefined : JSON.stringify(value), "file", LISTENER);
}

describe("a given profile", () => {
  it("comes back in the form in which it came", () => {
    const expected = mergeProfile(PROFILE, LISTENER.path, LISTENER.metadata);
    expect(merged(PROFILE)).toEqual(expected);
    const config = { ociVersion: "1.0.2", linux: { namespaces: [{ type: "pid" }], seccomp: PROFILE } };
    expect(merged(config)).toEqual({ ...config, linux: { ...config.linux, seccomp: expected } });
  });

  it("is our own where there is none", () => {
    const expected = mergeProfile(BASE_PROFILE, LISTENER.path, LISTENER.metadata);
    expect(merged()).toEqual(expected);
    expect(merged({ linux: {} })).toEqual({ linux: { seccomp: expected } });
  });

  it("may be merged twice", () => {
    expect(() => merged(merged(PROFILE))).not.toThrow();
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["no defaultAction", "{}"],
    ["no list of rules", JSON.stringify({ ...PROFILE, syscalls: [{ names: "read" }] })],
    ["a listener already", JSON.stringify({ ...PROFILE, listenerPath: "/run/other.sock" })],
    ["an engine's own file", JSON.stringify({ ...PROFILE, archMap: [] })],
  ])("is refused with %s", (_, text) => {
    expect(() => mergeGiven(text, "file", LISTENER)).toThrow(/^file is no seccomp profile: /);
  });
});
