/** memcached: a connection per request, and persistent connections. SET:GET 1:10. */
import { type OwnTimes, ownLoad, startListening, timesOf } from "./own-load.js";
import type { Scenario } from "./scenario.js";

const PORT = 11_211;
/** Enough to keep two cores busy on every network. */
const CLIENTS = 16;

interface MemcachedReport extends OwnTimes {
  readonly sets: number;
  readonly gets: number;
  readonly perSecond: number;
}

const PER_REQUEST = "connection-per-request";

export const MEMCACHED: Scenario = {
  name: "memcached",
  description: "memcached, SET:GET 1:10 of 32 B, 16 clients",
  programs: ["memcached"],
  cases: [
    { name: PER_REQUEST, title: "memcached, a connection per request", primary: "perSecond" },
    { name: "persistent", title: "memcached, persistent connections", primary: "perSecond" },
  ],
  open: async (network) => {
    const command = [
      "memcached",
      "-u",
      "root",
      "-l",
      "0.0.0.0",
      "-p",
      String(PORT),
      "-U",
      "0",
      "-t",
      "2",
      "-c",
      "4096",
    ];
    const server = await startListening(network, "memcached", PORT, command);
    return {
      servers: [server],
      measure: async (name, { seconds }) => {
        const args = ["memcached", "--to", `${server.address}:${PORT}`, "--seconds", String(seconds)];
        const mode = name === PER_REQUEST ? ["--connection-per-request"] : [];
        const report = await ownLoad(network, [...args, "--clients", String(CLIENTS), ...mode]);
        const { sets, gets, perSecond, ...times } = report as MemcachedReport;
        return { values: { perSecond, ...timesOf(times) }, work: { operations: sets + gets } };
      },
    };
  },
};
