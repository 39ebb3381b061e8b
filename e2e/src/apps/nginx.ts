/**
 * nginx with several workers, over listeners that they share and over one each (`reuseport`): names, load by wrk on
 * lasting and on short connections, balancing, reload and graceful quit with requests under way.
 */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Background } from "../fixture/background.js";
import { until } from "../fixture/until.js";
import type { Box } from "./box.js";
import { expectLoad } from "./http.js";
import type { App, Stage } from "./stage.js";

/** Command of an nginx with these `http` contents, whose files are all in the directory. */
export function nginx(directory: string, name: string, http: string, workers = 2): string[] {
  const path = (file: string) => join(directory, `${name}-${file}`);
  writeFileSync(
    path("conf"),
    `daemon off; user root; worker_processes ${workers}; pid ${path("pid")}; error_log stderr;
    events { worker_connections 512; }
    http {
      access_log off; sendfile on; keepalive_requests 1000000;
      client_body_temp_path ${path("body")}; proxy_temp_path ${path("proxy")}; fastcgi_temp_path ${path("fastcgi")};
      uwsgi_temp_path ${path("uwsgi")}; scgi_temp_path ${path("scgi")};
      ${http}
    }`,
  );
  return ["nginx", "-c", path("conf"), "-e", "stderr"];
}

const REQUESTS = 200;
const SLOW_BYTES = 300_000;

export const NGINX: App = {
  name: "nginx, wrk and curl",
  async play({ server, client, directory }: Stage) {
    writeFileSync(join(directory, "slow"), Buffer.alloc(SLOW_BYTES, "slimfast"));
    const http = `server {
      listen 80; listen [::]:80 ipv6only=on; listen 81 reuseport; listen [::]:81 ipv6only=on reuseport;
      root ${directory};
      location = /names { return 200 "$remote_addr:$remote_port $server_addr:$server_port"; }
      location = /worker { return 200 "$pid\\n"; }
      location = /slow { limit_rate 150k; }
    }`;
    const program = await server.start(nginx(directory, "server", http), { port: 80 });
    const base = (port: number) => `http://${server.host}:${port}`;

    const format = "\\n%{local_ip}:%{local_port} %{remote_ip}:%{remote_port}\\n";
    for (const port of [80, 81]) {
      const names = await client.output(["curl", "-sS", "-m", "10", "-w", format, `${base(port)}/names`]);
      const [seenByServer, seenByClient] = names.split("\n");
      expect(seenByServer).toBe(seenByClient);
      expect(seenByClient).toMatch(new RegExp(`^${client.address}:\\d+ ${server.address}:${port}$`));
    }
    // `[::]:80` is there as well, and reached by the container's own loopback.
    expect(await server.output(["curl", "-sS", "-m", "10", "http://[::1]:80/names"])).toMatch(/^::1:\d+ ::1:80$/);

    await expectLoad(client, `${base(80)}/names`, { connections: 20 });
    await expectLoad(client, `${base(81)}/names`, { connections: 20, isShort: true });

    const workers = new Set(await short(client, `${base(81)}/worker`, []));
    expect(workers.size, "workers that served connections to the port with reuseport").toBe(2);
    for (const port of [80, 81]) await reload(program, client, `${base(port)}/worker`);
    await quit(program, client, base(80), directory);
  },
};

/** Many requests, each on a connection of its own; the lines of their answers. */
async function short(client: Box, url: string, options: readonly string[]): Promise<string[]> {
  const command = ["curl", "-sS", "-f", "-m", "30", "-H", "Connection: close", ...options, `${url}?[1-${REQUESTS}]`];
  return (await client.output(command)).trim().split("\n");
}

/** Nobody notices a reload: every request is answered, in the end by other workers. */
async function reload(program: Background, client: Box, url: string): Promise<void> {
  const before = new Set(await short(client, url, []));
  const answers = short(client, url, ["--rate", "400/s"]);
  program.signal("SIGHUP");
  expect(await answers).toHaveLength(REQUESTS);
  await until(async () => !before.has((await client.output(["curl", "-sS", url])).trim()), "new workers answer");
}

/** A request that is under way is answered to its end; nobody listens any more in the meantime. */
async function quit(program: Background, client: Box, base: string, directory: string): Promise<void> {
  const received = join(directory, "received");
  const slow = client.output(["curl", "-sS", "-m", "60", "-o", received, `${base}/slow`]);
  await until(() => statSync(received, { throwIfNoEntry: false })?.size, "the slow answer has begun");
  program.signal("SIGQUIT");
  const refused = async () => (await client.run(["curl", "-s", "-m", "5", `${base}/names`])).exitCode === 7;
  await until(refused, "new connections are refused");
  await slow;
  expect(statSync(received).size).toBe(SLOW_BYTES);
  expect((await program.ended).exitCode).toBe(0);
}
