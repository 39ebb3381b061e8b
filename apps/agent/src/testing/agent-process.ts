/**
 * The real agent as a process, in a network namespace of its own, beside a real controller; for tests. Both are the
 * compiled programs, because those are what is shipped.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const AGENT = fileURLToPath(new URL("../../bundle/main.js", import.meta.url));
const CONTROLLER = fileURLToPath(new URL("../../../controller/bundle/main.js", import.meta.url));

const RESERVED_PORTS = "net/ipv4/ip_local_reserved_ports";

/** Prints the ports that connections from one address to one listener have, until the kernel has none left. */
const CONNECT_UNTIL_NONE_IS_LEFT = `
import errno, json, socket
listener = socket.create_server(("127.0.0.1", 1))
connections = []
try:
    while True:
        connections.append(socket.create_connection(listener.getsockname()))
except OSError as error:
    if error.errno != errno.EADDRNOTAVAIL:
        raise
print(json.dumps(sorted(one.getsockname()[1] for one in connections)))
`;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program {
  readonly child: ChildProcess;
  /** The first line on stdout, parsed; undefined if the process ended without one. */
  readonly ready: Promise<Record<string, unknown> | undefined>;
  readonly exit: Promise<Exit>;
  /** What it has logged so far. */
  stderr(): string;
}

function run(command: string, args: string[], identity: { uid?: number; gid?: number } = {}): Program {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...identity });
  let stdout = "";
  let stderr = "";
  let announce: (line: Record<string, unknown> | undefined) => void = () => {};
  const ready = new Promise<Record<string, unknown> | undefined>((resolve) => {
    announce = resolve;
  });
  child.stdout.on("data", (data: Buffer) => {
    stdout += data;
    if (stdout.startsWith("{") && stdout.includes("\n")) announce(JSON.parse(stdout.slice(0, stdout.indexOf("\n"))));
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr += data;
  });
  const exit = once(child, "close").then(([code, signal]): Exit => {
    announce(undefined);
    return { code, signal, stdout, stderr };
  });
  return { child, ready, exit, stderr: () => stderr };
}

let hosts = 0;

/** A network namespace with an underlay address, directories, and what is started there. */
export class TestHost {
  /** Part of every name that an agent here gives to something on the machine. */
  readonly node = `agt-${process.pid}-${++hosts}`;
  readonly directory = mkdtempSync(join(tmpdir(), "slimfast-agent-main-"));
  readonly runDir = join(this.directory, "run");
  readonly controllerAddress = `unix:${this.directory}/controller.sock`;
  readonly #namespace = `sf-${this.node}`;
  readonly #programs: Program[] = [];

  constructor() {
    if (process.geteuid?.() !== 0) {
      throw new Error("this test changes network namespaces and cgroups: run it as root (./slimfast test core)");
    }
    execFileSync("ip", ["netns", "add", this.#namespace]);
    this.#inside("ip", "link", "set", "lo", "up");
    this.#inside("ip", "address", "add", "10.200.0.1/24", "dev", "lo");
  }

  /** Arguments of an agent that works here. */
  arguments(): string[] {
    const { node, runDir, controllerAddress } = this;
    return ["--node", node, "--underlay", "10.200.0.1", "--run-dir", runDir, "--controller", controllerAddress];
  }

  startAgent(args: string[] = this.arguments()): Program {
    return this.#keep(run("nsenter", [`--net=/run/netns/${this.#namespace}`, process.execPath, AGENT, ...args]));
  }

  /** An agent that is not root; it stays in the namespace of the test, where it can do nothing. */
  startAgentAsNobody(): Program {
    return this.#keep(run(process.execPath, [AGENT, ...this.arguments()], { uid: 65_534, gid: 65_534 }));
  }

  async startController(): Promise<Program> {
    const args = [CONTROLLER, "--listen", this.controllerAddress, "--state-dir", join(this.directory, "state")];
    const controller = this.#keep(run(process.execPath, args));
    if (!(await controller.ready)) throw new Error(`the controller did not start: ${controller.stderr()}`);
    return controller;
  }

  /** Everything on the machine that could be a trace of an agent, besides the files in its run directory. */
  traces(): string[] {
    const cgroup = join(cgroupMount(), "slimfast", this.node);
    const namespaces = readdirSync("/run/netns").filter((name) => name.includes(this.node) && name !== this.#namespace);
    const links = this.#inside("ip", "-oneline", "link").trimEnd().split("\n").slice(1);
    const ports = this.reservedPorts();
    return [
      ...(existsSync(cgroup) ? [cgroup] : []),
      ...namespaces,
      ...links,
      ...(ports === "" ? [] : [`reserved ports ${ports}`]),
    ];
  }

  /** As the kernel writes them. */
  reservedPorts(): string {
    return this.#inside("cat", `/proc/sys/${RESERVED_PORTS}`).trim();
  }

  /** As somebody else on the machine does it. */
  addReservedPorts(ports: string): void {
    this.#inside("sysctl", "--quiet", "--write", `${RESERVED_PORTS}=${this.reservedPorts()},${ports}`);
  }

  /** What the kernel gives to outgoing connections when these are all the ephemeral ports that there are. */
  portsOfConnections({ first, count }: { first: number; count: number }): number[] {
    const range = "net.ipv4.ip_local_port_range";
    const before = this.#inside("sysctl", "--values", range).trim();
    this.#inside("sysctl", "--quiet", "--write", `${range}=${first} ${first + count - 1}`);
    const ports = this.#inside("python3", "-c", CONNECT_UNTIL_NONE_IS_LEFT);
    this.#inside("sysctl", "--quiet", "--write", `${range}=${before}`);
    return JSON.parse(ports);
  }

  /** Names in the run directory, locks aside; empty if it is gone. */
  files(): string[] {
    return existsSync(this.runDir) ? readdirSync(this.runDir).filter((name) => !name.endsWith(".lock")) : [];
  }

  /** Also takes away what an agent has left that was killed. */
  async remove(): Promise<void> {
    for (const { child, exit } of this.#programs) {
      // A test may have stopped it.
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      const killing = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await exit;
      clearTimeout(killing);
    }
    const program = `import { recover } from "@slimfast/core"; await recover(${JSON.stringify(this.runDir)})`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: join(AGENT, "..") });
    execFileSync("ip", ["netns", "delete", this.#namespace]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #keep(program: Program): Program {
    this.#programs.unshift(program);
    return program;
  }

  #inside(command: string, ...args: string[]): string {
    return execFileSync("nsenter", [`--net=/run/netns/${this.#namespace}`, command, ...args], { encoding: "utf8" });
  }
}

function cgroupMount(): string {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const mount = mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
  if (mount === undefined) throw new Error("cgroup v2 is not mounted");
  return mount;
}
