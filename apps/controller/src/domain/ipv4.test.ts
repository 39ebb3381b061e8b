import { describe, expect, it } from "vitest";
import { endpointAddresses, formatIpv4, parseIpv4, parsePrefix, specialUse } from "./ipv4.js";

describe("parseIpv4", () => {
  it.each([
    ["0.0.0.0", 0],
    ["10.32.0.1", 0x0a200001],
    ["255.255.255.255", 0xffffffff],
  ])("reads %s", (text, value) => {
    expect(parseIpv4(text)).toBe(value);
    expect(formatIpv4(value)).toBe(text);
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
    "::1",
    "1.2.3.4.5",
  ])("refuses %j", (text) => {
    expect(parseIpv4(text)).toBeUndefined();
  });
});

describe("parsePrefix", () => {
  it("reads first and last address", () => {
    expect(parsePrefix("10.32.0.0/16")).toEqual({ first: 0x0a200000, last: 0x0a20ffff, bits: 16 });
    expect(parsePrefix("0.0.0.0/0")).toEqual({ first: 0, last: 0xffffffff, bits: 0 });
    expect(parsePrefix("192.168.1.7/32")).toEqual({ first: 0xc0a80107, last: 0xc0a80107, bits: 32 });
  });

  it.each(["10.32.0.0", "10.32.0.0/", "10.32.0.0/33", "10.32.0.0/016", "10.32.0/16", "10.32.0.0/16/8", "/16", "::/8"])(
    "refuses %j",
    (text) => {
      expect(parsePrefix(text)).toBe("malformed");
    },
  );

  it("notices host bits", () => {
    expect(parsePrefix("10.32.0.1/16")).toBe("host_bits_set");
    expect(parsePrefix("10.32.0.0/8")).toBe("host_bits_set");
  });
});

describe("endpointAddresses", () => {
  it("reserves the first and the last address and nothing else", () => {
    const prefix = parsePrefix("10.32.0.0/29");
    if (typeof prefix === "string") throw new Error(prefix);
    const { first, last } = endpointAddresses(prefix);
    expect([formatIpv4(first), formatIpv4(last)]).toEqual(["10.32.0.1", "10.32.0.6"]);
  });
});

describe("specialUse", () => {
  it.each(["127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "169.254.169.0/24", "224.0.0.0/8", "240.0.0.0/8"])(
    "knows %s",
    (text) => {
      const prefix = parsePrefix(text);
      if (typeof prefix === "string") throw new Error(prefix);
      expect(specialUse(prefix)).toBeDefined();
    },
  );

  it("leaves private addresses alone", () => {
    const prefix = parsePrefix("10.0.0.0/8");
    if (typeof prefix === "string") throw new Error(prefix);
    expect(specialUse(prefix)).toBeUndefined();
  });
});
