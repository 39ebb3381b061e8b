/**
 * Sandboxes for the suites that make clusters: namespaces of their own for each tool, so that several of them run side by
 * side, and beside a cluster that is up on this machine. tools/test/sandbox.sh makes them.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cgroupMounts } from "../cluster/cgroup.js";
import { ROOT } from "../paths.js";

const SCRIPT = join(ROOT, "tools/test/sandbox.sh");
/** How often, and how long apart, a control group is asked to go whose last process is still on its way. */
const REMOVAL_TRIES = 50;
const REMOVAL_INTERVAL_MS = 100;

export interface Sandbox {
  /** What stands before a command that is to run in it: once. All its processes end with the command. */
  readonly prefix: readonly string[];
  /** Removes its control groups, once the command has ended. */
  close(): Promise<void>;
}

export function openSandbox(): Sandbox {
  const name = `slimfast-test-${randomBytes(6).toString("hex")}`;
  return {
    prefix: [SCRIPT, name],
    close: async () => {
      for (const group of cgroupMounts().map((mount) => join(mount, name))) {
        if (existsSync(group)) await removeCgroup(group);
      }
    },
  };
}

async function removeCgroup(path: string): Promise<void> {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(join(path, entry.name));
  }
  for (let tries = 1; ; tries += 1) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EBUSY" || tries === REMOVAL_TRIES) throw error;
    }
    await sleep(REMOVAL_INTERVAL_MS);
  }
}
