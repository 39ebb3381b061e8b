/** gRPC of Node.js: unary calls and streams in each direction, on one connection and on several. */
import { expect } from "vitest";
import { appProgram } from "./programs.js";
import type { App } from "./stage.js";

const PORT = "50051";

export const GRPC: App = {
  name: "gRPC",
  async play({ server, client }) {
    const program = await server.start([...appProgram("grpc.mjs"), "serve", PORT], { prints: /ready/ });
    const output = await client.output([...appProgram("grpc.mjs"), "call", `${server.host}:${PORT}`]);
    expect(output).toMatch(new RegExp(`^(::ffff:)?${client.address}:\\d+\\ndone\\n$`));
    program.signal("SIGTERM");
    expect((await program.ended).exitCode).toBe(0);
  },
};
