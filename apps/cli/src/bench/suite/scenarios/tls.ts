/** TLS handshakes: openssl's own server and load, TLS 1.3, a new session and connection each, one after the other. */
import { join } from "node:path";
import { CliError } from "../../../exit-codes.js";
import { exec } from "../../../process/exec.js";
import { startListening } from "./own-load.js";
import type { Measurement, Scenario } from "./scenario.js";

const PORT = 4_433;

export const TLS: Scenario = {
  name: "tls",
  description: "TLS 1.3 handshakes (P-256), one connection after the other",
  programs: ["openssl"],
  cases: [{ name: "handshake", title: "connect and TLS handshake, one after the other", primary: "perSecond" }],
  open: async (network, directory) => {
    const [key, certificate] = [join(directory, "key.pem"), join(directory, "cert.pem")];
    await exec("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", "/CN=bench", "-keyout", key, "-out", certificate],
    ]);
    const serve = ["openssl", "s_server", "-quiet", "-accept", String(PORT), "-cert", certificate, "-key", key];
    const server = await startListening(network, "tls", PORT, [...serve, "-4", "-no_ticket"]);
    return {
      servers: [server],
      measure: async (_name, { seconds }) => {
        const time = String(Math.max(1, Math.round(seconds)));
        const load = ["openssl", "s_time", "-connect", `${server.address}:${PORT}`, "-new", "-time", time];
        const started = performance.now();
        const stdout = await network.run("client", load);
        return readSTime(stdout, (performance.now() - started) / 1_000);
      },
    };
  },
};

/**
 * s_time ends at the end of a whole second and counts whole seconds, which may be one too many. So the time is the client's,
 * its start of some hundredths of a second included.
 */
export function readSTime(stdout: string, elapsedSeconds: number): Measurement {
  const operations = Number(/^(\d+) connections in \d+ real seconds/m.exec(stdout)?.[1]);
  if (!(operations > 0)) {
    throw new CliError("failed", `openssl s_time: no result in its output: ${stdout.slice(-500)}`);
  }
  return { values: { perSecond: operations / elapsedSeconds }, work: { operations } };
}
