/** nginx as a proxy before another nginx: with connections to it that are kept, and with one for each request. */
import { expect } from "vitest";
import { expectLoad } from "./http.js";
import { nginx } from "./nginx.js";
import type { App } from "./stage.js";

const UPSTREAM = 8_080;
const PROXY = 8_081;
const REQUESTS = 60;

export const PROXIED: App = {
  name: "nginx as a proxy",
  async play({ server, client, directory }) {
    // $connection counts the connections that the upstream has had; it has one worker, so that these are all.
    const upstream = `server {
      listen ${UPSTREAM}; listen [::]:${UPSTREAM}; location / { return 200 "$connection $remote_addr $http_x_real_ip\\n"; }
    }`;
    await server.start(nginx(directory, "upstream", upstream, 1), { port: UPSTREAM });
    const proxy = `
      upstream kept { server ${server.host}:${UPSTREAM}; keepalive 16; }
      upstream each { server ${server.host}:${UPSTREAM}; }
      server {
        listen ${PROXY}; listen [::]:${PROXY};
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        location /kept { proxy_pass http://kept; }
        location /each { proxy_pass http://each; proxy_set_header Connection close; proxy_set_header X-Real-IP $remote_addr; }
      }`;
    await client.start(nginx(directory, "proxy", proxy, 1), { port: PROXY });
    const base = `http://${client.host}:${PROXY}`;
    for (const [kind, connections] of [
      ["kept", 1],
      ["each", REQUESTS],
    ] as const) {
      const lines = (await server.output(["curl", "-sS", "-f", `${base}/${kind}?[1-${REQUESTS}]`])).trim().split("\n");
      expect(lines).toHaveLength(REQUESTS);
      expect(new Set(lines.map((line) => line.split(" ")[0])).size, kind).toBe(connections);
      expect(new Set(lines.map((line) => line.split(" ").slice(1).join(" ")))).toEqual(
        new Set([`${client.address} ${server.address}`]),
      );
      await expectLoad(server, `${base}/${kind}`, { connections: 20, isShort: true });
    }
  },
};
