/**
 * An OCI bundle made of this machine's own files: nginx with the libraries it needs, in a root file system of its own.
 * Owns the files below the bundle's directory; running it is oci-container.ts's job.
 */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CliError } from "../exit-codes.js";
import type { SeccompProfile } from "../oci/profile.js";
import { exec } from "../process/exec.js";

export interface BundleOptions {
  readonly directory: string;
  readonly hostname: string;
  /** Network namespace of the endpoint. */
  readonly netnsPath: string;
  readonly seccomp: SeccompProfile;
}

const NGINX = "/usr/sbin/nginx";

/** What Docker gives to containers, without those that nginx has no use for. */
const CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"];

/** `/whoami` answers with the addresses as the server sees them. */
const NGINX_CONF = `daemon off;
user nobody nogroup;
worker_processes 1;
error_log stderr;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  server {
    listen 80;
    listen [::]:80;
    location / { default_type text/plain; return 200 "hello from nginx in a runc container\\n"; }
    location = /whoami { default_type text/plain; return 200 "client $remote_addr server $server_addr\\n"; }
  }
}
`;

export async function createNginxBundle(options: BundleOptions): Promise<void> {
  const rootfs = join(options.directory, "rootfs");
  for (const path of ["proc", "dev", "run", "tmp", "etc/nginx", "var/lib/nginx", "var/log/nginx"]) {
    mkdirSync(join(rootfs, path), { recursive: true, mode: 0o755 });
  }
  for (const file of [NGINX, ...(await librariesOf(NGINX))]) {
    mkdirSync(dirname(join(rootfs, file)), { recursive: true });
    copyFileSync(file, join(rootfs, file));
    chmodSync(join(rootfs, file), 0o755);
  }
  writeFileSync(join(rootfs, "etc/passwd"), "root:x:0:0::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n");
  writeFileSync(join(rootfs, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  writeFileSync(join(rootfs, "etc/nginx/nginx.conf"), NGINX_CONF);
  writeFileSync(join(options.directory, "config.json"), JSON.stringify(runtimeConfig(options), null, 2));
}

/** The shared libraries of a program, its loader included. */
async function librariesOf(program: string): Promise<string[]> {
  const libraries = readLddOutput(await exec("ldd", [program]));
  if (libraries.length === 0) throw new CliError("failed", `ldd ${program} names no libraries`);
  return libraries;
}

/** Lines are `NAME => /path (0x…)`, or `/path (0x…)` for the loader; the kernel's own object has no path. */
export function readLddOutput(output: string): string[] {
  return [...output.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1] ?? "");
}

function runtimeConfig({ hostname, netnsPath, seccomp }: BundleOptions) {
  const capabilities = { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES };
  return {
    ociVersion: "1.0.2",
    hostname,
    root: { path: "rootfs", readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [NGINX, "-c", "/etc/nginx/nginx.conf"],
      env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
      cwd: "/",
      capabilities,
      noNewPrivileges: true,
    },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755"] },
      { destination: "/run", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=755"] },
    ],
    linux: {
      namespaces: [
        { type: "pid" },
        { type: "mount" },
        { type: "ipc" },
        { type: "uts" },
        { type: "network", path: netnsPath },
      ],
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
      readonlyPaths: ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
      seccomp,
    },
  };
}
