/**
 * Sandboxes for the suites that make clusters: namespaces of their own for each tool, so that several of them run side by
 * side, and beside a cluster that is up on this machine. tools/test/sandbox.sh makes them.
 */
import { mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cgroup2Mount } from "../cluster/cgroup.js";
import { ROOT } from "../paths.js";

const SCRIPT = join(ROOT, "tools/test/sandbox.sh");
/** How often, and how long apart, a control group is asked to go whose last process is still on its way. */
const REMOVAL_TRIES = 50;
const REMOVAL_INTERVAL_MS = 100;

let opened = 0;

export interface Sandbox {
  /** What stands before a command that is to run in it: once. All its processes end with the command. */
  readonly prefix: readonly string[];
  /** Removes its control groups, once the command has ended. */
  close(): Promise<void>;
}

/** @throws Error where there is no control group hierarchy of version 2, or no right to it */
export function openSandbox(): Sandbox {
  const mount = cgroup2Mount();
  if (mount === null) throw new Error("cgroup version 2 is mounted nowhere");
  opened += 1;
  const cgroup = join(mount, `slimfast-test-${process.pid}-${opened}`);
  mkdirSync(cgroup);
  return { prefix: [SCRIPT, cgroup], close: () => removeCgroup(cgroup) };
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
