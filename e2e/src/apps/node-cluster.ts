/** A Node.js cluster: workers that share their listener by descriptor, and ones that get their connections handed. */
import { expect } from "vitest";
import { appProgram } from "./programs.js";
import type { App } from "./stage.js";

export const NODE_CLUSTER: App = {
  name: "Node.js cluster",
  async play({ server, client }) {
    for (const [policy, port] of [
      ["none", "8000"],
      ["rr", "8001"],
    ] as const) {
      const program = await server.start([...appProgram("cluster.mjs"), "serve", port, policy], { prints: /ready/ });
      const answer = await client.output([...appProgram("cluster.mjs"), "request", server.address, port, "100"]);
      const { workers, strangers } = JSON.parse(answer) as { workers: number; strangers: number };
      expect(strangers, "connections whose ends name each other differently").toBe(0);
      // Who accepts is the workers' race in the one policy, and in turn in the other.
      expect(workers).toBeGreaterThanOrEqual(policy === "rr" ? 2 : 1);
      program.signal("SIGTERM");
      expect((await program.ended).exitCode).toBe(0);
    }
  },
};
