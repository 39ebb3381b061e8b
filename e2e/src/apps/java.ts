/** Java: blocking sockets, channels with a selector, its HTTP server and client. All its sockets are dual-stack IPv6. */
import { expect } from "vitest";
import { SERVERS_JAVA } from "./programs.js";
import type { App } from "./stage.js";

const PORT = "9000";

export const JAVA: App = {
  name: "Java",
  async play({ server, client }) {
    await server.start([...SERVERS_JAVA, "serve", PORT], { prints: /ready/ });
    const lines = (await client.output([...SERVERS_JAVA, "talk", server.address, PORT])).trim().split("\n");
    expect(lines.splice(-2)).toEqual(["Connection refused", "done"]);
    for (const line of lines) expect(line).toMatch(new RegExp(`^http ${written(client.address)}:\\d+$`));
  },
};

/** An address as Java writes it: of IPv6 with all its groups. */
function written(address: string): string {
  const [head = "", tail] = address.split("::");
  if (tail === undefined) return address;
  const [before, after] = [head.split(":"), tail.split(":")];
  return [...before, ...Array(8 - before.length - after.length).fill("0"), ...after].join(":");
}
