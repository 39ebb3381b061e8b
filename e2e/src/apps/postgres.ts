/** PostgreSQL: a process for each connection; pgbench on lasting connections, and on a new one for each transaction. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { App } from "./stage.js";

const PORT = 5_432;
/** It refuses to run as root. */
const AS_USER = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
const INSTALLED = "/usr/lib/postgresql";

function programPath(name: string): string {
  const [version] = readdirSync(INSTALLED);
  if (version === undefined) throw new Error(`there is no PostgreSQL in ${INSTALLED}`);
  return join(INSTALLED, version, "bin", name);
}

let template: string | null = null;

/** A fresh database directory is made once: that takes longer than all that is done with it. */
function databaseTemplate(): string {
  if (template === null) {
    const made = mkdtempSync(join(tmpdir(), "slimfast-e2e-postgres-"));
    template = made;
    execFileSync("chown", ["nobody:nogroup", made]);
    const options = ["--auth", "trust", "--username", "bench", "--no-sync", "--no-instructions"];
    execFileSync("setpriv", [...AS_USER.slice(1), programPath("initdb"), ...options, "-D", made], { stdio: "pipe" });
  }
  return template;
}

export function removeDatabaseTemplate(): void {
  if (template !== null) rmSync(template, { recursive: true, force: true });
  template = null;
}

export const POSTGRES: App = {
  name: "PostgreSQL and pgbench",
  async play({ server, client, directory }) {
    const data = join(directory, "data");
    cpSync(databaseTemplate(), data, { recursive: true });
    const rules = `echo 'host all all all trust' >>${data}/pg_hba.conf`;
    execFileSync("sh", ["-c", `${rules} && chown -R nobody:nogroup ${directory} && chmod 700 ${data}`]);
    const settings = ["listen_addresses=*", `unix_socket_directories=${directory}`, "fsync=off", "shared_buffers=16MB"];
    const options = settings.flatMap((setting) => ["-c", setting]);
    const postgres = [...AS_USER, programPath("postgres"), "-D", data, "-p", String(PORT), ...options];
    const program = await server.start(postgres, { prints: /ready to accept connections/ });

    const at = ["-h", server.address, "-p", String(PORT), "-U", "bench"];
    const names = "select host(inet_client_addr()), host(inet_server_addr()), inet_server_port()";
    expect(await client.output(["psql", ...at, "-d", "postgres", "-tAc", names])).toBe(
      `${client.address}|${server.address}|${PORT}\n`,
    );
    await client.output(["pgbench", ...at, "--initialize", "--quiet", "--scale", "1", "postgres"]);
    for (const [transactions, ...each] of [["50"], ["10", "--connect"]]) {
      const load = ["--client", "4", "--jobs", "2", "--transactions", String(transactions), ...each];
      const report = await client.output(["pgbench", ...at, ...load, "postgres"]);
      const total = 4 * Number(transactions);
      expect(report).toContain(`number of transactions actually processed: ${total}/${total}`);
      expect(report).toContain("number of failed transactions: 0 ");
    }
    // Fast shutdown: connections are ended, and it leaves in good order.
    program.signal("SIGINT");
    expect((await program.ended).exitCode).toBe(0);
  },
};
