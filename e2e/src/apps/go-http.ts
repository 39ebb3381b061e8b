/** Go's net/http, which makes its system calls itself: server and client, graceful shutdown. */
import { expect } from "vitest";
import { HTTP_GO } from "./programs.js";
import type { App } from "./stage.js";

const PORT = "8080";

export const GO_HTTP: App = {
  name: "Go net/http",
  async play({ server, client }) {
    const program = await server.start([...HTTP_GO, "serve", PORT], { prints: /ready/ });
    expect(await client.output([...HTTP_GO, "request", `${server.host}:${PORT}`, "200"])).toBe("done\n");
    program.signal("SIGTERM");
    expect((await program.ended).exitCode).toBe(0);
  },
};
