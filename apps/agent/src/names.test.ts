import { describe, expect, it } from "vitest";
import { isDnsLabel, madeUpName, netnsName } from "./names.js";

describe("DNS labels", () => {
  it.each(["a", "0", "web-1", "a".repeat(63)])("%s is one", (name) => expect(isDnsLabel(name)).toBe(true));
  it.each(["", "-a", "a-", "A", "a.b", "a/b", "a b", "ä", "a\n", "a".repeat(64)])("%j is none", (name) =>
    expect(isDnsLabel(name)).toBe(false),
  );
});

it("made-up names are labels, and differ", () => {
  const names = Array.from({ length: 50 }, madeUpName);
  expect(names.every(isDnsLabel)).toBe(true);
  expect(new Set(names).size).toBe(names.length);
});

describe("names of namespaces", () => {
  it("are readable", () => {
    expect(netnsName("node-1", "blue", "web")).toBe("sf-node-1-blue-web");
  });

  it("are shortened and stay apart", () => {
    const long = "x".repeat(63);
    const names = [
      netnsName("node-1", long, "web"),
      netnsName("node-1", long, "db"),
      netnsName("node-1", "blue", long),
    ];
    expect(new Set(names).size).toBe(3);
    for (const name of names) {
      expect(name.length).toBeLessThanOrEqual(60);
      expect(name).toMatch(/^sf-node-1-.*-[0-9a-f]{8}$/);
    }
    expect(netnsName("node-1", long, "web")).toBe(names[0]);
  });

  it("end in a hash if they are taken", () => {
    const taken = "sf-n-a-b-c";
    const name = netnsName("n", "a", "b-c", (candidate) => candidate === taken);
    expect(name).toMatch(/^sf-n-a-b-c-[0-9a-f]{8}$/);
    expect(netnsName("n", "a-b", "c", (candidate) => candidate === taken)).not.toBe(name);
  });
});
