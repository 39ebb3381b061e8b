/** A network namespace with an underlay address, and a process in it that makes calls of the real core; for tests. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { CoreConfig } from "../types.js";
import type { Answer, Call, Failure } from "./driver.js";

/** The compiled one, from `ts/` and from `dist/` alike. */
const DRIVER = fileURLToPath(new URL("../../dist/testing/driver.js", import.meta.url));
/** Where cargo puts it. */
const KEEPER = resolve(
  process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../../target", import.meta.url)),
  "release/slimfast-keeper",
);
const FACADE = new URL("../../dist/index.js", import.meta.url).href;

/** An error of the core, as it arrived over there. */
export class RemoteError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

let nodes = 0;

export class NodeProcess {
  /** Part of every name that this node gives to something on the host. */
  readonly name = `napi-${process.pid}-${++nodes}`;
  readonly directory = mkdtempSync(join(tmpdir(), "slimfast-napi-test-"));
  readonly config: CoreConfig;
  readonly #namespace = `sf-${this.name}`;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #child: ChildProcess;
  #ended: Promise<undefined>;
  #calls = 0;

  constructor() {
    if (process.geteuid?.() !== 0) {
      throw new Error("this test changes network namespaces and cgroups: run it as root (./slimfast test core)");
    }
    execFileSync("ip", ["netns", "add", this.#namespace]);
    this.#run("ip", "link", "set", "lo", "up");
    this.#run("ip", "address", "add", "10.200.0.1/24", "dev", "lo");
    this.config = {
      nodeName: this.name,
      underlayAddress: "10.200.0.1",
      frontPortFirst: 7000,
      frontPortCount: 16,
      cgroup: `slimfast/${this.name}`,
      runDir: join(this.directory, "run"),
      keeperPath: KEEPER,
      vxlanPort: 4789,
      endpointLimits: { sockets: null, listeners: null, connectsPerSecond: null },
    };
    this.#child = this.#spawn();
    this.#ended = once(this.#child, "exit").then(() => undefined);
  }

  #spawn(): ChildProcess {
    const child = spawn("nsenter", [`--net=/run/netns/${this.#namespace}`, process.execPath, DRIVER], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    child.on("message", (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    return child;
  }

  /** Ends the process by a signal, and starts another one in the same namespace. */
  async restart(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
    this.#child = this.#spawn();
    this.#ended = once(this.#child, "exit").then(() => undefined);
  }

  /** Of the keeper of this node; undefined if there is none. */
  keeperPid(): number | undefined {
    const pids = readFileSync(join(cgroupMount(), this.config.cgroup, "cgroup.procs"), "utf8")
      .trim()
      .split("\n");
    return pids.length === 1 && pids[0] !== "" ? Number(pids[0]) : undefined;
  }

  /** @throws RemoteError */
  async call(name: string, ...args: unknown[]): Promise<unknown> {
    if (!this.#child.connected) throw new Error("the process has ended");
    this.#calls += 1;
    const call: Call = { id: this.#calls, name, args };
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(call.id, resolve));
    this.#child.send(call);
    const answer = await Promise.race([answered, this.#ended]);
    if (!answer) throw new Error(`the process ended during ${name}`);
    const { value, error } = answer;
    if (error) throw new RemoteError(error);
    return value;
  }

  /** What went wrong; it is an error of the test if nothing did. */
  async failure(name: string, ...args: unknown[]): Promise<Failure> {
    try {
      await this.call(name, ...args);
    } catch (error) {
      if (error instanceof RemoteError) return error.failure;
      throw error;
    }
    throw new Error(`${name} succeeded`);
  }

  /** Everything on the host that could be a trace of this node, besides its namespace and its process. */
  traces(): string[] {
    const cgroup = join(cgroupMount(), this.config.cgroup);
    const files = existsSync(this.config.runDir) ? readdirSync(this.config.runDir) : [];
    const namespaces = readdirSync("/run/netns").filter((name) => name.includes(this.name) && name !== this.#namespace);
    const links = this.#run("ip", "-oneline", "link").trimEnd().split("\n").slice(1);
    const ports = this.#run("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports").trim();
    return [
      ...(existsSync(cgroup) ? [cgroup] : []),
      ...files.filter((name) => !name.endsWith(".lock")),
      ...namespaces,
      ...links,
      ...(ports === "" ? [] : [`reserved ports ${ports}`]),
    ];
  }

  journal(): { changes: unknown[]; node: { endpoints: { stage: string }[] } } {
    return JSON.parse(readFileSync(join(this.config.runDir, "journal.json"), "utf8"));
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  /** Closes the node if it is open, however the test has ended. */
  async remove(): Promise<void> {
    await this.call("close").catch(() => undefined);
    await this.kill();
    const program = `import { recover } from ${JSON.stringify(FACADE)}; await recover(${JSON.stringify(this.config.runDir)})`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", program]);
    execFileSync("ip", ["netns", "delete", this.#namespace]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #run(command: string, ...args: string[]): string {
    return execFileSync("nsenter", [`--net=/run/netns/${this.#namespace}`, command, ...args], { encoding: "utf8" });
  }
}

function cgroupMount(): string {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const mount = mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
  if (mount === undefined) throw new Error("cgroup v2 is not mounted");
  return mount;
}
