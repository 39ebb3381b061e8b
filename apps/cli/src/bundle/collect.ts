/**
 * What a support bundle consists of: files by name, each collected on its own, so that what fails is one file that says
 * why. Nothing leaves this module unredacted. Changes nothing.
 */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { arch, cpus, release, totalmem, version } from "node:os";
import { join } from "node:path";
import { probe } from "@slimfast/core";
import { withAgent } from "../cluster/access.js";
import { cgroup2Mount } from "../cluster/cgroup.js";
import { logDirectory, readState } from "../cluster/state-file.js";
import { allDocuments } from "../commands/apply.js";
import { hostChecks } from "../doctor/host-checks.js";
import { CliError, messageOf } from "../exit-codes.js";
import { toJson } from "../output.js";
import { ROOT, runDirectory } from "../paths.js";
import { tryExec } from "../process/exec.js";
import { withCluster } from "../remote/controller.js";
import { type RemoteOptions, remoteTarget } from "../remote/settings.js";
import { collect } from "../resources/list.js";
import { redact } from "./redact.js";

/** The end of each log, where trouble is. */
const LOG_BYTES = 4 * 1024 * 1024;
const AUDIT_ENTRIES = 500;

const SYSCTLS = [
  ...["net/core/somaxconn", "net/ipv4/ip_local_port_range", "net/ipv4/ip_local_reserved_ports", "net/ipv4/ip_forward"],
  ...[
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_congestion_control",
    "net/core/bpf_jit_enable",
  ],
  ...["kernel/seccomp/actions_avail", "kernel/unprivileged_bpf_disabled", "kernel/osrelease"],
];

export type BundleFiles = ReadonlyMap<string, string>;

export async function collectBundle(options: RemoteOptions): Promise<BundleFiles> {
  const files = new Map<string, string>();
  const add = async (name: string, content: () => Promise<string> | string) => {
    let text: string;
    try {
      text = await content();
    } catch (error) {
      text = `could not be collected: ${messageOf(error)}\n`;
    }
    files.set(name, redact(text));
  };
  await add("versions.json", versions);
  await add("kernel.json", kernelFacts);
  await add("doctor.json", async () => toJson([...(await hostChecks(runDirectory())), ...(await probe())]));
  await addLocal(add);
  await addCluster(add, options);
  return files;
}

type Add = (name: string, content: () => Promise<string> | string) => Promise<void>;

async function addLocal(add: Add): Promise<void> {
  const state = readState(runDirectory());
  if (!state) {
    await add("local.txt", () => "no cluster is up on this machine\n");
    return;
  }
  await add("cluster.json", () => toJson(state));
  for (const node of state.plan.nodes) {
    await add(`agents/${node.name}.json`, () =>
      withAgent(node, async ({ local }) => {
        const [status, endpoints, listeners, connections] = await Promise.all([
          local.getStatus({}),
          local.listAttachedEndpoints({}),
          local.listListeners({}),
          local.listConnections({}),
        ]);
        return toJson({ status, ...endpoints, ...listeners, ...connections });
      }),
    );
    await add(`nodes/${node.name}.txt`, () => networkOf(node.netns));
  }
  const directory = logDirectory(state.plan.runDir);
  for (const name of existsSync(directory) ? readdirSync(directory).sort() : []) {
    await add(`logs/${name}`, () => tail(join(directory, name)));
  }
}

async function addCluster(add: Add, options: RemoteOptions): Promise<void> {
  if (remoteTarget(options) === null && readState(runDirectory()) === null) return;
  const ask = (name: string, body: Parameters<typeof withCluster<unknown>>[1]) =>
    add(`cluster/${name}.json`, async () => toJson(await withCluster(options, body)));
  await ask("nodes", (controller) => collect(controller.listAllNodes()));
  await ask("networks", (controller) => collect(controller.listAllNetworks()));
  await ask("endpoints", (controller) => collect(controller.listAllEndpoints()));
  await ask("port-reservations", (controller) => collect(controller.listAllPortReservations()));
  await ask("policies", (controller) => collect(controller.listAllPolicies()));
  await ask("connections", (controller) =>
    collect(controller.listAllConnectionRecords({ includeClosed: true, pageSize: 1_000 })),
  );
  await ask("whoami", ({ access }) => access.whoAmI({}));
  await ask("export", (controller) => allDocuments(controller));
  await ask("audit", async (controller) => {
    const entries = [];
    for await (const entry of controller.listAllAuditEntries({ pageSize: AUDIT_ENTRIES })) {
      entries.push(entry);
      if (entries.length === AUDIT_ENTRIES) break;
    }
    return entries;
  });
}

async function versions(): Promise<string> {
  const { version: slimfast } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const commit = await tryExec("git", ["-C", ROOT, "rev-parse", "HEAD"]);
  return toJson({ slimfast, commit: commit.stdout.trim() || null, node: process.version, time: new Date() });
}

function kernelFacts(): string {
  const sysctls = SYSCTLS.map((name) => [name.replaceAll("/", "."), readOr(`/proc/sys/${name}`)]);
  return toJson({
    release: release(),
    version: version(),
    architecture: arch(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    cgroup2: cgroup2Mount(),
    securityModules: readOr("/sys/kernel/security/lsm"),
    sysctls: Object.fromEntries(sysctls),
  });
}

async function networkOf(netns: string): Promise<string> {
  const commands = [["-s", "link"], ["addr"], ["rule"], ["route", "show", "table", "all"]];
  const parts = [];
  for (const args of commands) {
    const { stdout, stderr } = await tryExec("ip", ["-n", netns, ...args]);
    parts.push(`$ ip ${args.join(" ")}
${stdout}${stderr}`);
  }
  return parts.join("\n");
}

function readOr(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}

function tail(path: string): string {
  const descriptor = openSync(path, "r");
  try {
    const { size } = fstatSync(descriptor);
    const buffer = Buffer.alloc(Math.min(size, LOG_BYTES));
    const length = readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8", 0, length);
  } finally {
    closeSync(descriptor);
  }
}

/** @throws CliError `failed` */
export function requireNew(path: string): void {
  if (existsSync(path))
    throw new CliError("failed", `${path} exists already`, { remedy: "name another one with --output" });
}
