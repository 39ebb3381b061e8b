import { formatIp, prefixOf } from "@slimfast/proto";
import { describe, expect, it } from "vitest";
import { endpointAddresses, knownPrefix, specialUse, unreachableUse } from "./address-space.js";

describe("endpointAddresses", () => {
  it.each([
    ["10.32.0.0/29", "10.32.0.1", "10.32.0.6"],
    ["fd00:32::/120", "fd00:32::1", "fd00:32::fe"],
    ["fd00:32::/48", "fd00:32::1", "fd00:32:0:ffff:ffff:ffff:ffff:fffe"],
  ])("of %s are all but the first and the last", (text, first, last) => {
    const range = endpointAddresses(knownPrefix(text));
    expect([range.first, range.last].map((value) => formatIp({ family: range.family, value }))).toEqual([first, last]);
  });
});

describe("specialUse", () => {
  it.each([
    ...["127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "169.254.169.0/24", "224.0.0.0/8", "240.0.0.0/4"],
    ...["::/128", "::1/128", "::/64", "fe80::/64", "ff02::/16", "::ffff:10.0.0.0/104", "64:ff9b::/96", "fec0::/10"],
    ...["::/0", "e000::/4", "8000::/1", "100::/64", "fc00::/6"],
  ])("knows %s", (text) => {
    expect(specialUse(knownPrefix(text))).toBeDefined();
  });

  it.each(["10.0.0.0/8", "192.168.0.0/16", "fc00::/7", "fd00:32::/64", "2000::/3", "2001:db8::/32"])(
    "leaves %s alone",
    (text) => {
      expect(specialUse(knownPrefix(text))).toBeUndefined();
    },
  );
});

describe("unreachableUse", () => {
  it.each(["127.0.0.1/32", "240.0.0.0/4", "::1/128", "fe80::1/128", "ff00::/8", "::ffff:192.0.2.1/128"])(
    "says why %s cannot be reached",
    (text) => {
      expect(unreachableUse(knownPrefix(text))).toBeDefined();
    },
  );

  it.each(["0.0.0.0/0", "169.254.169.254/32", "::/0", "64:ff9b::/96", "2001:db8::/32", "fd00::/8", "fc00::/6"])(
    "lets %s be named",
    (text) => {
      expect(unreachableUse(knownPrefix(text))).toBeUndefined();
    },
  );

  it("judges every address of a range as the range", () => {
    const range = knownPrefix("fe80::/10");
    for (const value of [range.first, range.last]) {
      expect(unreachableUse(prefixOf({ family: 6, value }, 128))).toBe(unreachableUse(range));
    }
  });
});
