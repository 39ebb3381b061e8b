/**
 * Containers under runc, which sends each process' seccomp listener to the agent: the container's own program, and
 * every `runc exec` into it, which brings a listener of its own.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { Container, listedProfile, openedToIoUring } from "./fixture/container.js";
import { built } from "./fixture/programs.js";
import { until } from "./fixture/until.js";
import type { CliResult } from "./testing/cli.js";

interface Conversation {
  readonly local: string;
  readonly peer: string;
  readonly seen: string;
}

const PORT = 7_000;

let cluster: Cluster;
let container: Container;
/** On the other node. */
let server: Background;

beforeAll(async () => {
  cluster = await Cluster.start();
  const serve = ["serve", String(PORT)];
  container = await Container.start(cluster, { name: "box", node: "node-1", command: ["/bin/echo-static", ...serve] });
  server = await cluster.start({ node: "node-2", name: "server", ready: { ports: [PORT] } }, [
    built("echo-go"),
    ...serve,
  ]);
  await until(async () => {
    const listeners = await cluster.listeners("node-1");
    return listeners.some(({ endpoint, local }) => endpoint === "box" && local?.port === PORT);
  }, "the container listens");
});

afterAll(async () => {
  await container?.stop();
  await cluster?.stop();
});

/** Checks what an echo client of the given address has printed. */
function expectConversations({ stdout, stderr, exitCode }: CliResult, address: string, target: string, count: number) {
  expect(exitCode, stderr).toBe(0);
  const conversations = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Conversation);
  expect(conversations).toHaveLength(count);
  for (const { local, peer, seen } of conversations) {
    expect(peer).toBe(target);
    expect(local).toMatch(new RegExp(`^${address}:\\d+$`));
    expect(seen).toBe(local);
  }
}

/** Seccomp listeners that the agent holds for the container. */
async function listenersHeld(): Promise<number> {
  return (await container.attached())?.seccompListeners ?? 0;
}

describe("the container's own program", () => {
  it.each(["node-1", "node-2"])("serves clients on %s", async (node) => {
    for (const tier of ["preload", "notify"] as const) {
      const output = await cluster.output({ node, tier, name: "client" }, [
        "sh",
        "-c",
        `hostname -I; exec ${built("echo-static")} connect ${container.address}:${PORT}`,
      ]);
      const [address = "", ...lines] = output.split("\n");
      const result = { stdout: lines.join("\n"), stderr: "", exitCode: 0, signal: null };
      expectConversations(result, address.trim(), `${container.address}:${PORT}`, 1);
    }
  });

  it("is held by one listener of the agent", async () => {
    expect(await container.attached()).toMatchObject({ seccompListeners: 1, dispensers: 0 });
  });
});

describe("runc exec", () => {
  it.each(["echo-static", "echo-go"])("%s connects to the other node, and to its own container", async (program) => {
    const count = program === "echo-go" ? 3 : 1;
    for (const target of [`${server.address}:${PORT}`, `${container.address}:${PORT}`]) {
      const command = ["/bin/busybox", "env", "GODEBUG=multipathtcp=1", `/bin/${program}`, "connect", target];
      expectConversations(await container.exec(command), container.address, target, count);
    }
  });

  it("shows overlay names in every state", async () => {
    const client = ["/bin/names-static", "client", "6", "epoll", server.address, String(PORT), "20005", "hold"];
    const child = container.spawn(client);
    const lines: string[] = [];
    child.stdout?.setEncoding("utf8").on("data", (text: string) => lines.push(...text.trim().split("\n")));
    await until(() => lines.length >= 3, "the client is connected");
    child.kill("SIGKILL");
    const own = `[::ffff:${container.address}]:20005`;
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { state: "unbound", local: "[::]:0", peer: "ENOTCONN" },
      { state: "bound", local: "[::]:20005", peer: "ENOTCONN" },
      { state: "connected", local: own, peer: `[::ffff:${server.address}]:${PORT}` },
    ]);
    await container.exec(["/bin/busybox", "killall", "-9", "names-static"]);
  });

  it("each has a listener of its own, which goes with it", async () => {
    await until(async () => (await listenersHeld()) === 1, "earlier listeners are gone");
    const children = [1, 2, 3].map(() => container.spawn(["/bin/busybox", "cat"]));
    await until(async () => (await listenersHeld()) === 4, "three more listeners");
    // A new one works beside those that are held.
    const target = `${server.address}:${PORT}`;
    expectConversations(await container.exec(["/bin/echo-static", "connect", target]), container.address, target, 1);
    for (const child of children) child.stdin?.end();
    await until(async () => (await listenersHeld()) === 1, "the listeners are gone");
  });

  it("gets many in a row", async () => {
    const target = `${server.address}:${PORT}`;
    for (let round = 0; round < 10; round += 1) {
      const result = await container.exec(["/bin/echo-static", "connect", target, target]);
      expectConversations(result, container.address, target, 2);
    }
    await until(async () => (await listenersHeld()) === 1, "the listeners are gone");
  });
});

it("works with a profile that denies what it does not name", async () => {
  const command = ["/bin/echo-go", "serve", String(PORT)];
  const profile = listedProfile();
  const strict = await Container.start(cluster, { name: "strict", node: "node-2", command, profile });
  try {
    await until(async () => {
      const listeners = await cluster.listeners("node-2");
      return listeners.some(({ endpoint }) => endpoint === "strict");
    }, "the container listens");
    for (const target of [strict.address, container.address, server.address].map((address) => `${address}:${PORT}`)) {
      const connect = ["/bin/echo-static", "connect", target];
      expectConversations(await strict.exec(connect), strict.address, target, 1);
      expectConversations(await container.exec(connect), container.address, target, 1);
    }
  } finally {
    await strict.stop();
  }
});

/** Whether io_uring_setup(2) makes a ring in it. */
async function hasIoUring(box: Container): Promise<boolean> {
  const { stdout } = await box.exec(["/bin/doors", "io_uring"]);
  const doors = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { door: string; achieved: boolean });
  return doors.some(({ door, achieved }) => door === "io_uring" && achieved);
}

describe("io_uring", () => {
  it("is denied by the merged profile, which is seen", async () => {
    expect(await hasIoUring(container)).toBe(false);
    expect(await container.attached()).toMatchObject({ unguardedListeners: 0 });
    expect((await cluster.cli.run(["status"])).stdout).not.toContain("io_uring");
  });

  it("is reported where a profile lacks the rule, for as long as the container runs", async () => {
    const name = "unguarded";
    const command = ["/bin/echo-static", "serve", String(PORT)];
    const box = await Container.start(cluster, { name, node: "node-1", command, change: openedToIoUring });
    /** To whoever asks the controller. */
    const reported = async (): Promise<[string, number][]> => {
      const list = ["endpoint", "list", "--filter", "unguarded_listeners > 0"];
      const endpoints = await cluster.cli.json<{ name: string; unguardedListeners: number }[]>(...list);
      return endpoints.map((endpoint) => [endpoint.name, endpoint.unguardedListeners]);
    };
    try {
      await until(async () => (await box.attached())?.unguardedListeners === 1, "it is reported");
      await until(async () => (await reported())[0]?.[1] === 1, "the controller tells of it");
      expect(await reported()).toEqual([[name, 1]]);
      expect((await cluster.cli.run(["endpoint", "list"])).stdout).toMatch(/^unguarded .* 1 may use it$/m);
      expect(await hasIoUring(box)).toBe(true);
      // It works all the same.
      const target = `${box.address}:${PORT}`;
      expectConversations(await container.exec(["/bin/echo-static", "connect", target]), container.address, target, 1);
      expect((await cluster.cli.run(["status"])).stdout).toContain("default/unguarded: 1 of its containers");
      const { counters } = await cluster.agent("node-1").local.getStatus({});
      expect(Number(Object.fromEntries(Object.entries(counters))["admission_unguarded"])).toBeGreaterThan(0);
    } finally {
      await box.stop();
    }
    await until(async () => !(await cluster.cli.run(["status"])).stdout.includes("io_uring"), "nothing is reported");
  });
});

describe("when the container ends", () => {
  it("its endpoint is removed, its address and name are free, and another takes its place", async () => {
    await container.stop();
    await until(async () => (await container.attached()) === null, "the endpoint is gone");
    const { controller } = await cluster.status();
    expect(controller.endpoints.map(({ name }) => name)).toEqual(["server"]);
    const gone = await cluster.run({ node: "node-2" }, [
      built("echo-static"),
      "connect",
      `${container.address}:${PORT}`,
    ]);
    expect(gone).toMatchObject({ exitCode: 1 });

    const command = ["/bin/echo-static", "serve", String(PORT)];
    container = await Container.start(cluster, { name: "box", node: "node-1", command });
    const target = `${container.address}:${PORT}`;
    await until(async () => (await cluster.listeners("node-1")).length > 0, "the container listens");
    expect(await cluster.output({ node: "node-2" }, [built("echo-static"), "connect", target])).toContain(target);
  });
});
