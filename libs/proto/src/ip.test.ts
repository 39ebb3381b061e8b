import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { containsIp, containsRange, formatIp, formatIpPrefix, parseIp, parseIpPrefix } from "./ip.js";

describe("parseIp", () => {
  it.each([
    ["0.0.0.0", 4, 0n],
    ["10.32.0.1", 4, 0x0a200001n],
    ["255.255.255.255", 4, 0xffffffffn],
    ["::", 6, 0n],
    ["::1", 6, 1n],
    ["fd00:32::", 6, 0xfd00_0032n << 96n],
    ["fd00:32::2:0:0:9", 6, (0xfd00_0032n << 96n) | 0x0002_0000_0000_0009n],
    ["1:2:3:4:5:6:7:8", 6, 0x0001_0002_0003_0004_0005_0006_0007_0008n],
    ["::ffff:10.32.0.1", 6, 0xffff_0a20_0001n],
  ] as const)("reads %s, and it is written the same", (text, family, value) => {
    expect(parseIp(text)).toEqual({ family, value });
    expect(formatIp({ family, value })).toBe(text);
  });

  it.each([
    ["FD00:0032:0:0:0:0:0:A", "fd00:32::a"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:0:2:3:0:0:4", "1::2:3:0:0:4"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["::ffff:0a20:1", "::ffff:10.32.0.1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("writes %s as RFC 5952 has it: %s", (text, canonical) => {
    const address = parseIp(text);
    expect(address && formatIp(address)).toBe(canonical);
  });

  it.each([
    "",
    "10",
    "10.1",
    "10.0.0.256",
    "010.0.0.1",
    "0x0a.0.0.1",
    "10.0.0.1 ",
    "10.0.0.1\n",
    "10.0.0.-1",
    "1.2.3.4.5",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "1::2::3",
    ":1::2",
    "1:2:3:4:5:6:7:",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "[::1]",
    " ::1",
    "::1\n",
    "::10.0.0.1:1",
    "10.0.0.1::",
    "::ffff:10.0.0",
    "::ffff:010.0.0.1",
    "::-1",
    "::0x1",
  ])("refuses %j", (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it("reads what it has written, and equal addresses are equal texts", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }), (groups) => {
        const address = parseIp(groups.map((group) => group.toString(16).padStart(4, "0")).join(":"));
        if (!address) throw new Error("not read");
        expect(parseIp(formatIp(address))).toEqual(address);
      }),
    );
  });

  it("agrees with the URL standard's own reading and writing", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const address = parseIp(text);
        if (!address) throw new Error(`${text} was not read`);
        // The standard writes no dotted quads.
        if (address.value >> 32n !== 0xffffn)
          expect(`[${formatIp(address)}]`).toBe(new URL(`http://[${text}]`).hostname);
      }),
    );
  });
});

describe("parseIpPrefix", () => {
  it("reads first and last address", () => {
    expect(parseIpPrefix("10.32.0.0/16")).toEqual({ family: 4, first: 0x0a200000n, last: 0x0a20ffffn, bits: 16 });
    expect(parseIpPrefix("0.0.0.0/0")).toEqual({ family: 4, first: 0n, last: 0xffffffffn, bits: 0 });
    expect(parseIpPrefix("192.168.1.7/32")).toEqual({ family: 4, first: 0xc0a80107n, last: 0xc0a80107n, bits: 32 });
    const first = 0xfd00_0032n << 96n;
    expect(parseIpPrefix("fd00:32::/64")).toEqual({ family: 6, first, last: first + (1n << 64n) - 1n, bits: 64 });
    expect(parseIpPrefix("::/0")).toEqual({ family: 6, first: 0n, last: (1n << 128n) - 1n, bits: 0 });
  });

  it.each([
    "10.32.0.0",
    "10.32.0.0/",
    "10.32.0.0/33",
    "10.32.0.0/016",
    "10.32.0/16",
    "10.32.0.0/16/8",
    "/16",
    "::/129",
    "::/064",
    "fd00::",
    "fd00::/",
    "fd00::/ 64",
    "fd00::/64/64",
  ])("refuses %j", (text) => {
    expect(parseIpPrefix(text)).toBe("malformed");
  });

  it.each(["10.32.0.1/16", "10.32.0.0/8", "fd00:32::1/64", "fd00:32::/16"])("notices host bits in %s", (text) => {
    expect(parseIpPrefix(text)).toBe("host_bits_set");
  });

  it("is written canonically", () => {
    const prefix = parseIpPrefix("FD00:0032:0::/64");
    if (typeof prefix === "string") throw new Error(prefix);
    expect(formatIpPrefix(prefix)).toBe("fd00:32::/64");
  });
});

describe("ranges", () => {
  it("hold addresses and ranges of their own family only", () => {
    const four = parseIpPrefix("0.0.0.0/0");
    const six = parseIpPrefix("::/0");
    const part = parseIpPrefix("fd00::/64");
    if (typeof four === "string" || typeof six === "string" || typeof part === "string") throw new Error("malformed");
    expect(containsRange(six, part)).toBe(true);
    expect(containsRange(part, six)).toBe(false);
    expect(containsRange(six, four)).toBe(false);
    expect(containsIp(four, { family: 4, value: 1n })).toBe(true);
    expect(containsIp(four, { family: 6, value: 1n })).toBe(false);
    expect(containsIp(part, { family: 6, value: part.last + 1n })).toBe(false);
  });
});
