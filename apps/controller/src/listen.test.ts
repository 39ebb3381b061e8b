/** Addresses on which the controller listens, and those under which it says that it can be reached. */
import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import { parseListenAddress, reachableAddresses } from "./listen.js";

function reachable(listening: string[], advertised: string[] = []): string[] {
  return reachableAddresses(
    listening.map((text) => parseListenAddress(text, { tls: true })),
    advertised,
  );
}

describe("a controller can be reached", () => {
  it("at every address of the network that it listens on, the advertised ones first", () => {
    expect(reachable(["unix:/run/x.sock", "192.0.2.1:7443", "127.0.0.1:7443", "[2001:db8::1]:7443"])).toEqual([
      ...["192.0.2.1:7443", "[2001:db8::1]:7443", "unix:/run/x.sock"],
    ]);
    expect(reachable(["192.0.2.1:7443"], ["controller.example:443"])).toEqual([
      "controller.example:443",
      "192.0.2.1:7443",
    ]);
  });

  it("on loopback if that is all there is", () => {
    expect(reachable(["127.0.0.1:7443", "unix:/run/x.sock"])).toEqual(["127.0.0.1:7443", "unix:/run/x.sock"]);
    expect(reachable(["127.0.0.1:7443"], ["192.0.2.9:7443"])).toEqual(["192.0.2.9:7443"]);
  });

  it("at the addresses of the machine where it listens on all of them", () => {
    const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const ipv4 = addresses.filter(({ family, internal }) => family === "IPv4" && !internal);
    const expected = ipv4.length > 0 ? ipv4.map(({ address }) => `${address}:7443`) : ["127.0.0.1:7443"];
    expect(reachable(["0.0.0.0:7443"])).toEqual(expected);
    expect(reachable(["[::]:7443"])).toEqual(expect.arrayContaining(ipv4.map(({ address }) => `${address}:7443`)));
    expect(reachable(["[::]:7443"])).not.toContain("[::]:7443");
  });
});
