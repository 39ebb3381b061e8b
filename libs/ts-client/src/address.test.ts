import { describe, expect, it } from "vitest";
import { parseAddress } from "./address.js";
import { SlimFastError } from "./errors.js";

describe("parseAddress", () => {
  it.each([
    ["unix:/run/slimfast/controller.sock", "unix:///run/slimfast/controller.sock"],
    ["unix:///run/slimfast/controller.sock", "unix:///run/slimfast/controller.sock"],
    ["unix:here.sock", `unix://${process.cwd()}/here.sock`],
    ["127.0.0.1:7000", "127.0.0.1:7000"],
    ["localhost:1", "localhost:1"],
    ["[::1]:65535", "[::1]:65535"],
  ])("reads %j", (address, target) => {
    expect(parseAddress(address).target).toBe(target);
  });

  it.each([
    "",
    "unix:",
    "unix:\0abstract",
    "/run/x.sock",
    "host",
    "host:",
    "host:0",
    "host:65536",
    "::1:80",
    "http://a:1",
  ])("refuses %j", (address) => {
    try {
      parseAddress(address);
    } catch (error) {
      if (!(error instanceof SlimFastError)) throw error;
      expect(error.code).toBe("invalid_argument");
      expect(error.details.fieldViolations.map(({ field }) => field)).toEqual(["address"]);
      return;
    }
    throw new Error("it was read");
  });
});
