import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cgroup2Mount } from "../cluster/cgroup.js";
import { runTool, trySandbox } from "./tool.js";

const MARK = `sandbox-test-${process.pid}`;
const abort = new AbortController();
const left: string[] = [];
const INSIDE = { signal: abort.signal, sandboxed: true, onLeftSandbox: (why: string) => left.push(why) };

function inSandbox(script: string, signal: AbortSignal = abort.signal) {
  return runTool("test-sandbox-itself", "sh", ["-c", script, MARK], { ...INSIDE, signal });
}

function processesWith(text: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    });
}

/** Other runs' may come and go. */
let before: string[] = [];
const cgroups = () => readdirSync(cgroup2Mount() ?? "").filter((name) => name.startsWith("slimfast-test-"));
const made = () => cgroups().filter((name) => !before.includes(name));

describe("a sandbox", () => {
  beforeEach(() => {
    before = cgroups();
    left.length = 0;
  });

  // Whatever a tool does, nothing of it stays.
  afterEach(() => {
    expect(left).toEqual([]);
    expect(processesWith(MARK)).toEqual([]);
    expect(made()).toEqual([]);
    expect([`/run/${MARK}`, `/tmp/${MARK}`, `/run/netns/${MARK}`].filter(existsSync)).toEqual([]);
  });

  it("can be made", async () => {
    expect(await trySandbox(abort.signal)).toBeNull();
  });

  it("hands output and exit code on", async () => {
    expect(await inSandbox("echo out; echo err >&2; exit 7")).toEqual({
      exitCode: 7,
      output: expect.stringMatching(/^(out\nerr|err\nout)\n$/),
    });
  });

  it("has interfaces, directories, processes and control groups of its own", async () => {
    const { output } = await inSandbox(`
      ls /sys/class/net /tmp /run/netns; cut -d : -f 3 /proc/self/cgroup | sort -u; ps -o pid= -C sandbox.sh
      cgroup=$(sed -n 's:^[^ ]* \\([^ ]*\\) cgroup2 .*:\\1:p' /proc/self/mounts)
      mkdir "$cgroup/$0" "$cgroup/$0/inner" && echo $$ > "$cgroup/$0/inner/cgroup.procs" && cat /proc/self/cgroup | grep ^0:
      ip netns add "$0" && touch "/run/$0" "/tmp/$0" && ip netns list; pwd`);
    expect(output.replace(/^ +/gm, "").split("\n").filter(Boolean)).toEqual([
      ...["/run/netns:", "/sys/class/net:", "lo", "/tmp:", "/", "1"],
      ...[`0::/${MARK}/inner`, MARK, process.cwd()],
    ]);
  });

  it("ends with the command, and processes that this has left with it", async () => {
    const { exitCode } = await inSandbox(`setsid sh -c 'trap "" TERM HUP; sleep 1000' "$0" >/dev/null 2>&1 &`);
    expect(exitCode).toBe(0);
  });

  it("waits for orphans", async () => {
    const { output } = await inSandbox(
      `sh -c 'sleep 0.1 & echo $!' >/tmp/pid; while [ -e /proc/$(cat /tmp/pid) ]; do sleep 0.02; done; echo gone`,
    );
    expect(output).toBe("gone\n");
  });

  it("gives the tool's result, although its control group is still in use", async () => {
    // Processes of other namespaces are 0 to it.
    const running = inSandbox(`
      cgroup=$(sed -n 's:^[^ ]* \\([^ ]*\\) cgroup2 .*:\\1:p' /proc/self/mounts)
      until grep -qx 0 "$cgroup/cgroup.procs"; do sleep 0.02; done; exit 7`);
    await expect.poll(made).toHaveLength(1);
    const [name = ""] = made();
    const path = join(cgroup2Mount() ?? "", name);
    const user = spawn("sleep", ["1000"], { stdio: "ignore" });
    writeFileSync(join(path, "cgroup.procs"), String(user.pid));
    expect(await running).toMatchObject({ exitCode: 7 });
    expect(left.splice(0)).toEqual([expect.stringContaining("EBUSY")]);
    const ended = once(user, "exit");
    user.kill("SIGKILL");
    await ended;
    await expect.poll(() => rmdirSync(path)).toBeUndefined();
  });

  it("ends when it is told to", async () => {
    const interrupt = new AbortController();
    const running = inSandbox(`trap "" INT TERM; exec sh -c 'sleep 1000; true' "$0-$((1 + 1))"`, interrupt.signal);
    await expect.poll(() => processesWith(`${MARK}-2`).length, { timeout: 30_000 }).toBe(1);
    interrupt.abort();
    expect((await running).exitCode).not.toBe(0);
  });
});
