/** The command line on a machine that lacks something: each surrounding is a command that runs another one in it. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type CliResult, ending } from "./cli.js";

export const ROOT: string = resolve(fileURLToPath(import.meta.url), "../../../..");

/** Puts the arguments of a command behind those that make the surroundings. */
export type Surroundings = readonly string[];

/** Runs `command` in `surroundings` to its end. */
export function runIn(
  surroundings: Surroundings,
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  const [program = "", ...args] = [...surroundings, ...command];
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CI: "true", ...environment },
  });
  return ending(child);
}

/** The command line, with a run directory. */
export function cliIn(surroundings: Surroundings, runDir: string, ...args: string[]): Promise<CliResult> {
  const main = surroundings === NOBODY ? `${NOBODYS_ROOT}/apps/cli/bundle/main.js` : `${ROOT}/apps/cli/bundle/main.js`;
  return runIn(surroundings, [process.execPath, main, ...args], { SLIMFAST_RUN_DIR: runDir });
}

const NOBODYS_ROOT = "/mnt";

/** As a user without privileges. The checkout may be where such a user may not look: it is mounted elsewhere for it. */
export const NOBODY: Surroundings = [
  ...["unshare", "--mount", "sh", "-c"],
  `mount --bind "$0" ${NOBODYS_ROOT} && HOME=/tmp exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`,
  ROOT,
];

/** Without cgroup version 2. */
export const NO_CGROUP2: Surroundings = ["unshare", "--mount", "sh", "-c", 'umount "$0" && exec "$@"', cgroup2Mount()];

/** With a kernel that does not tell its types. */
export const NO_BTF: Surroundings = [
  ...["unshare", "--mount", "sh", "-c"],
  'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"',
];

/** With a kernel that does not know a system call, by its number on this machine. */
export function withoutSystemCall(name: "bpf" | "seccomp"): Surroundings {
  const numbers = process.arch === "arm64" ? { bpf: 280, seccomp: 277 } : { bpf: 321, seccomp: 317 };
  return ["python3", "-c", FILTER, String(numbers[name])];
}

/** NUMBER COMMAND...: a seccomp filter that answers the system call with ENOSYS. */
const FILTER = `
import ctypes, os, struct, sys
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
RET_ENOSYS, RET_ALLOW = 0x00050000 | 38, 0x7fff0000
LOAD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
program = b"".join(struct.pack("HBBI", *line) for line in [
    (LOAD_NUMBER, 0, 0, 0), (IF_EQUAL, 0, 1, int(sys.argv[1])), (RETURN, 0, 0, RET_ENOSYS), (RETURN, 0, 0, RET_ALLOW)])
lines = ctypes.create_string_buffer(program)
header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(lines)))
if ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0): sys.exit("the filter was refused")
os.execvp(sys.argv[2], sys.argv[2:])
`;

function cgroup2Mount(): string {
  const line = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((text) => text.split(" "))
    .find(([, , type]) => type === "cgroup2");
  if (line?.[1] === undefined) throw new Error("cgroup version 2 is mounted nowhere");
  return line[1];
}
