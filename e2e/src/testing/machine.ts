/** What a cluster could leave on the machine, as text that can be compared before and after. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupMounts } from "@slimfast/cli";

export interface MachineState {
  readonly namespaces: readonly string[];
  readonly cgroups: readonly string[];
  readonly interfaces: readonly string[];
  readonly reservedPorts: string;
  readonly runDirExists: boolean;
  /** Command lines of processes of this run directory. */
  readonly processes: readonly string[];
}

/** What is not as it was, for a test that expects nothing: a failure then says all of it in one line. */
export function differences(before: MachineState, now: MachineState): string[] {
  const keys = Object.keys(before) as (keyof MachineState)[];
  const texts = keys.map((key) => [key, JSON.stringify(before[key]), JSON.stringify(now[key])] as const);
  return texts.filter(([, then, later]) => then !== later).map(([key, then, later]) => `${key}: ${then} -> ${later}`);
}

/** @param tag what the names of the cluster under test contain; others may come and go meanwhile */
export function machineState(runDir: string, tag: string): MachineState {
  return {
    namespaces: namesIn("/run/netns").filter((name) => name.includes(tag)),
    cgroups: cgroupMounts()
      .flatMap((mount) => [...namesIn(mount), ...namesIn(join(mount, "slimfast"))])
      .filter((name) => name.includes(tag)),
    interfaces: namesIn("/sys/class/net"),
    reservedPorts: readFileSync("/proc/sys/net/ipv4/ip_local_reserved_ports", "utf8").trim(),
    runDirExists: existsSync(runDir),
    processes: commandLines().filter((line) => line.includes(runDir)),
  };
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).sort() : [];
}

function commandLines(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    });
}
