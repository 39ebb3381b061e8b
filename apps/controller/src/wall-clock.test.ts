/**
 * A real controller whose wall clock jumps, a day forward and two days back: leases last as long as they were given, by a clock
 * that nobody can set. The time of the machine is shared with everybody, so the jump is made where the process reads it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PortPurpose, type PortReservation } from "@slimfast/proto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect, registerNode, type TestClient } from "./testing/controller.js";
import { TestEtcd } from "./testing/etcd.js";
import { eventually } from "./testing/operations.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const MAIN = fileURLToPath(new URL("../bundle/main.js", import.meta.url));
const DAY_MS = 24 * 3_600_000;
const SHORT_S = 3;

/** Runs in the controller before anything of its own: the time of day is off by what the file says. */
const SHIFTED_CLOCK = `
import { readFileSync } from "node:fs";
const real = Date;
const offset = () => Number(readFileSync(process.env.CLOCK_OFFSET_FILE, "utf8"));
globalThis.Date = class extends real {
  constructor(...args) {
    if (args.length === 0) super(real.now() + offset());
    else super(...args);
  }
  static now() {
    return real.now() + offset();
  }
};
`;

let directory: string;
let etcd: TestEtcd | undefined;
let running: ChildProcess | undefined;
let client: TestClient;

function setClock(offsetMs: number): Promise<void> {
  return writeFile(join(directory, "offset"), String(offsetMs));
}

async function startController(): Promise<void> {
  const listen = `unix:${directory}/controller.sock`;
  const store = etcd ? ["--store", `etcd:${etcd.hosts.join(",")}`] : [];
  const options = ["--listen", listen, "--state-dir", join(directory, "state"), "--log-level", "error", ...store];
  running = spawn(process.execPath, ["--import", join(directory, "clock.mjs"), MAIN, ...options], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, CLOCK_OFFSET_FILE: join(directory, "offset") },
  });
  const [line] = await once(createInterface(running.stdout as NodeJS.ReadableStream), "line");
  expect(JSON.parse(String(line))).toMatchObject({ ready: true });
  client = connect(listen);
}

async function killController(): Promise<void> {
  client?.channel.close();
  if (!running || running.exitCode !== null || running.signalCode !== null) return;
  const exit = once(running, "exit");
  running.kill("SIGKILL");
  await exit;
}

async function reserve(name: string, seconds: number): Promise<Date | undefined> {
  const request = {
    portReservation: { name, node: "node-1", ports: { count: 1 } },
    lease: { seconds: BigInt(seconds) },
  };
  const { portReservation } = await client.cluster.createPortReservation(request);
  return portReservation?.expireTime;
}

async function reservations(): Promise<string[]> {
  const { portReservations } = await client.cluster.listPortReservations({});
  const isStatic = ({ purpose }: PortReservation) => purpose === PortPurpose.PORT_PURPOSE_STATIC;
  return portReservations
    .filter(isStatic)
    .map(({ name }) => name)
    .sort();
}

describe.each(["SQLite", "etcd"])("leases of a controller on %s", (store) => {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "slimfast-clock-test-"));
    etcd = store === "etcd" ? await TestEtcd.start() : undefined;
    await writeFile(join(directory, "clock.mjs"), SHIFTED_CLOCK);
    await setClock(0);
    await startController();
    await registerNode(client, 1);
  });

  afterEach(async () => {
    await killController();
    await etcd?.remove();
    await rm(directory, { recursive: true, force: true });
  });

  it("neither end early nor live for ever when the wall clock jumps, also over a restart", async () => {
    await reserve("long", 3_600);
    const startMs = performance.now();
    await reserve("short", SHORT_S);
    await setClock(DAY_MS);
    // It has really jumped: what is made now says so.
    await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/24" } });
    const { network } = await client.cluster.getNetwork({ name: "blue" });
    const aheadMs = (network?.createTime?.getTime() ?? 0) - Date.now();
    expect(Math.abs(aheadMs - DAY_MS)).toBeLessThan(3_600_000);

    await eventually("the short lease is over", async () => !(await reservations()).includes("short"));
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(SHORT_S * 1_000);
    expect(await reservations()).toEqual(["long"]);

    // Of what is given after the jump, the end is told by the clock that has jumped; how long it lasts is not.
    const secondMs = performance.now();
    const end = await reserve("second", SHORT_S);
    expect(Math.abs((end?.getTime() ?? 0) - Date.now() - DAY_MS)).toBeLessThan(3_600_000);
    await setClock(-DAY_MS);
    await killController();
    await startController();
    await eventually("the second lease is over", async () => !(await reservations()).includes("second"));
    expect(performance.now() - secondMs).toBeGreaterThanOrEqual(SHORT_S * 1_000);
    expect(await reservations()).toEqual(["long"]);
  });
});
