import { expect, it } from "vitest";
import { parseEndpointLimits } from "./endpoint-limits.js";

it("are all said, or some", () => {
  expect(parseEndpointLimits("sockets=10,listeners=2,connects=100")).toEqual({
    sockets: 10,
    listeners: 2,
    connectsPerSecond: 100,
  });
  expect(parseEndpointLimits("connects=7")).toEqual({ sockets: null, listeners: null, connectsPerSecond: 7 });
});

it.each([
  "",
  "sockets",
  "sockets=",
  "sockets=0",
  "sockets=-1",
  "sockets=1,sockets=2",
  "files=3",
  "connects=1000000001",
])("%j is refused", (text) => {
  expect(() => parseEndpointLimits(text)).toThrow(/sockets=N,listeners=N,connects=N/);
});
