/** gRPC unary calls with grpc-js on both sides (tools/bench/grpc-unary.mjs): a connection per call, and one for all. */
import { join } from "node:path";
import { ROOT } from "../../../paths.js";
import { type OwnTimes, startListening, timesOf } from "./own-load.js";
import type { Scenario } from "./scenario.js";

const PORT = 50_051;
const CALLERS = 8;
const PROGRAM = join(ROOT, "tools/bench/grpc-unary.mjs");

interface GrpcReport extends OwnTimes {
  readonly calls: number;
  readonly perSecond: number;
}

const PER_CALL = "connection-per-call";

export const GRPC: Scenario = {
  name: "grpc",
  description: "gRPC unary calls of 64 B, grpc-js, 8 at once",
  programs: [],
  cases: [
    { name: PER_CALL, title: "gRPC unary, a connection per call", primary: "perSecond" },
    { name: "persistent", title: "gRPC unary, one connection", primary: "perSecond" },
  ],
  open: async (network) => {
    const server = await startListening(network, "grpc", PORT, [process.execPath, PROGRAM, "serve", String(PORT)]);
    return {
      servers: [server],
      measure: async (name, { seconds }) => {
        const load = [process.execPath, PROGRAM, "load", `${server.address}:${PORT}`, String(seconds), String(CALLERS)];
        const stdout = await network.run("client", [...load, ...(name === PER_CALL ? ["per-call"] : [])]);
        const { calls, perSecond, ...times } = JSON.parse(stdout) as GrpcReport;
        return { values: { perSecond, ...timesOf(times) }, work: { operations: calls } };
      },
    };
  },
};
