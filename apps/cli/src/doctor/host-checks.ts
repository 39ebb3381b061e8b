/**
 * Checks of this machine besides the core's own probe of the kernel: tools, ports, the run directory. They change nothing
 * and need no cluster.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Check } from "@slimfast/core";
import { type ClusterState, isIntact, readState } from "../cluster/state-file.js";
import { removalOf, strayNamespaces } from "../cluster/strays.js";
import { CliError, messageOf } from "../exit-codes.js";
import { tryExec } from "../process/exec.js";

const NODE_MINIMUM: readonly [number, number] = [20, 19];

interface Tool {
  readonly program: string;
  readonly debianPackage: string;
  readonly purpose: string;
  readonly required: boolean;
}

const TOOLS: readonly Tool[] = [
  { program: "ip", debianPackage: "iproute2", purpose: "creates nodes", required: true },
  { program: "nsenter", debianPackage: "util-linux", purpose: "starts agents in nodes", required: true },
  { program: "clang-16", debianPackage: "clang-16", purpose: "builds the BPF programs", required: false },
  { program: "cargo", debianPackage: "", purpose: "builds the core", required: false },
  { program: "runc", debianPackage: "runc", purpose: "the demo's OCI container", required: false },
  { program: "nginx", debianPackage: "nginx-light", purpose: "the demo's web server", required: false },
  { program: "memcached", debianPackage: "memcached", purpose: "the demo's cache", required: false },
  { program: "curl", debianPackage: "curl", purpose: "the demo's web client", required: false },
  { program: "ping", debianPackage: "iputils-ping", purpose: "the demo's check of ICMP", required: false },
  { program: "ss", debianPackage: "iproute2", purpose: "names whoever holds a port", required: false },
];

export async function hostChecks(runDir: string): Promise<Check[]> {
  return [
    checkRoot(process.geteuid?.() ?? -1),
    checkNode(process.versions.node),
    ...TOOLS.map(checkTool),
    checkRunDirectory(runDir),
    await checkFrontPorts(),
  ];
}

export function checkRoot(euid: number): Check {
  return check(
    "host.root",
    true,
    euid === 0,
    `effective user id ${euid}`,
    "run slimfast as root, for example with sudo",
  );
}

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const ok = major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1]);
  return check("host.node", true, ok, `Node.js ${version}`, `install Node.js ${NODE_MINIMUM.join(".")} or newer`);
}

function checkTool({ program, debianPackage, purpose, required }: Tool): Check {
  const path = findProgram(program);
  const remedy = debianPackage === "" ? "install Rust: https://rustup.rs" : `apt-get install ${debianPackage}`;
  return check(`tool.${program}`, required, path !== null, path ?? `not found (${purpose})`, remedy);
}

function findProgram(program: string): string | null {
  // Login shells of ordinary users lack the sbin directories, and su keeps it that way.
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  for (const directory of directories) {
    const path = join(directory, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this one.
    }
  }
  return null;
}

/** A cluster that is up is fine; what a crashed one has left is reported although `up` removes it by itself. */
function checkRunDirectory(runDir: string): Check {
  let state: ClusterState | null;
  try {
    state = readState(runDir);
  } catch (error) {
    const remedy = error instanceof CliError ? error.remedy : null;
    return check("host.run_dir", false, false, messageOf(error), remedy ?? "see the message");
  }
  if (state) {
    const up = isIntact(state);
    const detail = up ? `a cluster of ${state.plan.nodes.length} nodes is up` : "a crashed run has left its state";
    return check("host.run_dir", false, up, detail, "remove it with: slimfast down");
  }
  const strays = strayNamespaces(runDir);
  return check(
    "host.run_dir",
    false,
    strays.length === 0,
    strays.length === 0 ? `${runDir}: no cluster is up` : `network namespaces without a cluster: ${strays.join(", ")}`,
    removalOf(strays),
  );
}

/**
 * Front ports belong to a node's namespace, which `up` makes anew, so they are free there. What counts is an agent on the
 * machine itself: its ports are looked at here.
 */
async function checkFrontPorts(): Promise<Check> {
  const { exitCode, stdout } = await tryExec("ss", ["-H", "-t", "-l", "-n", "-p", "sport >= :7000 and sport <= :7015"]);
  const holders = exitCode === 0 ? stdout.trim().split("\n").filter(Boolean) : [];
  const reserved = readFileSync("/proc/sys/net/ipv4/ip_local_reserved_ports", "utf8").trim();
  const detail =
    holders.length === 0
      ? `7000-7015 are free on this machine${reserved === "" ? "" : `; reserved: ${reserved}`}`
      : `taken on this machine: ${holders.map((line) => line.replace(/\s+/g, " ")).join("; ")}`;
  return check(
    "host.front_ports",
    false,
    holders.length === 0,
    detail,
    "nodes of `up` are not affected; an agent on the machine itself needs other --front-ports",
  );
}

function check(name: string, required: boolean, ok: boolean, detail: string, remedy: string): Check {
  return { name, ok, detail, remedy: ok ? null : remedy, required };
}
