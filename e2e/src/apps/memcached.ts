/** memcached, which listens on an IPv4 and an IPv6-only socket of one port: many connections that are open at once. */
import { expect } from "vitest";
import { appProgram } from "./programs.js";
import { type App, IS_FULL } from "./stage.js";

const CONNECTIONS = IS_FULL ? 3_000 : 300;
const PORT = 11_211;

export const MEMCACHED: App = {
  name: "memcached",
  async play({ server, client }) {
    const command = ["memcached", "-u", "nobody", "-U", "0", "-t", "2", "-c", String(2 * CONNECTIONS)];
    await server.start(command, { port: PORT });
    const values = [...appProgram("memcached.py"), String(PORT), String(CONNECTIONS)];
    expect(await client.output([...values, server.address])).toBe("done\n");
    // The other listener is the container's own ::1.
    expect(await server.output([...values.slice(0, -1), "10", "::1"])).toBe("done\n");
  },
};
