/**
 * The controller as a process: what it prints, how it ends, what it refuses, and that kill -9 loses nothing.
 *
 * Runs the compiled program, because that is what is shipped; `nx test` builds it first.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect, registerNode, type TestClient } from "./testing/controller.js";

const PROGRAM = fileURLToPath(new URL("../bundle/main.js", import.meta.url));

let directory: string;
let listen: string;
const children: ChildProcess[] = [];
const clients: TestClient[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-main-test-"));
  listen = `unix:${directory}/controller.sock`;
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.channel.close();
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(directory, { recursive: true, force: true });
});

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Process {
  readonly child: ChildProcess;
  /** The ready line, or undefined if the process ended without one. */
  readonly ready: Promise<{ ready: boolean; listen: string } | undefined>;
  readonly exit: Promise<Exit>;
}

function start(...args: string[]): Process {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let stdout = "";
  let stderr = "";
  let announce: (line: { ready: boolean; listen: string } | undefined) => void;
  const ready = new Promise<{ ready: boolean; listen: string } | undefined>((resolve) => {
    announce = resolve;
  });
  child.stdout.on("data", (data: Buffer) => {
    stdout += data;
    const end = stdout.indexOf("\n");
    if (end >= 0 && stdout.startsWith("{")) announce(JSON.parse(stdout.slice(0, end)));
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr += data;
  });
  const exit = once(child, "close").then(([code, signal]): Exit => {
    announce(undefined);
    return { code, signal, stdout, stderr };
  });
  return { child, ready, exit };
}

function startController(stateDirectory = join(directory, "state")): Process {
  return start("--listen", listen, "--state-dir", stateDirectory);
}

function connectClient(): TestClient {
  const client = connect(listen);
  clients.push(client);
  return client;
}

describe("the process", () => {
  it("says where it listens in one line, logs JSON to stderr, and ends with 0 on SIGTERM", async () => {
    const { child, ready, exit } = startController();
    expect(await ready).toMatchObject({ ready: true, listen });
    expect(statSync(`${directory}/controller.sock`).mode & 0o777).toBe(0o600);
    expect(statSync(`${directory}/state`).mode & 0o777).toBe(0o700);
    child.kill("SIGTERM");
    const { code, stdout, stderr } = await exit;
    expect(code).toBe(0);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    const messages = stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).msg);
    expect(messages).toEqual(["controller started", "stopping", "controller stopped"]);
    expect(existsSync(`${directory}/controller.sock`)).toBe(false);
  });

  it("ends with an agent connected and a call waiting", async () => {
    const { child, ready, exit } = startController();
    await ready;
    const client = connectClient();
    await registerNode(client, 1);
    await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
    const hello = { node: "node-1", known: [], attached: [] };
    const requests = (async function* () {
      yield { kind: { $case: "hello" as const, value: hello } };
      // Open, and silent, until the controller ends it.
      await exit;
    })();
    const responses = client.agent.sync(requests)[Symbol.asyncIterator]();
    await responses.next();
    const creation = client.agent.createEndpoint({
      endpoint: { name: "web", network: "blue", node: "node-1" },
      waitForPeers: true,
    });
    creation.catch(() => {});
    // It is in the store, so the call has come as far as waiting.
    while ((await client.cluster.listEndpoints({})).endpoints.length === 0);
    child.kill("SIGINT");
    expect((await exit).code).toBe(0);
    await expect(responses.next()).rejects.toThrow("shutting down");
    await creation;
  });

  it("listens on loopback, and says on which port", async () => {
    const { ready } = start("--listen", "127.0.0.1:0", "--state-dir", join(directory, "state"));
    expect(await ready).toMatchObject({ ready: true, listen: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/) });
  });

  it("explains itself", async () => {
    const { code, stdout } = await start("--help").exit;
    expect(code).toBe(0);
    expect(stdout).toMatch(/--listen.*--state-dir.*--log-level/s);
    expect((await start("--log-level", "loud").exit).code).toBe(2);
    expect((await start("--nonsense").exit).code).toBe(2);
  });
});

describe("kill -9", () => {
  it("loses nothing that was acknowledged, and gives out no id twice", { timeout: 60_000 }, async () => {
    const acknowledged = new Map<string, number>();
    let started = 0;
    for (let round = 0; round < 4; round += 1) {
      const { child, ready, exit } = startController();
      await ready;
      const client = connectClient();
      await registerNode(client, 1);
      if (round === 0) await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
      const kept = (await client.cluster.listEndpoints({ pageSize: 1_000 })).endpoints;
      expect(kept.map(({ name, id }) => [name, id])).toEqual(expect.arrayContaining([...acknowledged]));
      expect(new Set(kept.map(({ id }) => id)).size).toBe(kept.length);
      // Several writers at once, killed in the midst of their writing.
      const enough = 15 + 7 * round;
      let written = 0;
      const write = async (): Promise<void> => {
        for (;;) {
          started += 1;
          const endpoint = { name: `ep-${started}`, network: "blue", node: "node-1" };
          try {
            const created = await client.agent.createEndpoint({ endpoint });
            const id = created.endpoint?.id ?? 0;
            expect([...acknowledged.values()]).not.toContain(id);
            acknowledged.set(endpoint.name, id);
          } catch (error) {
            if (written < enough) throw error;
            return;
          }
          written += 1;
          if (written === enough) child.kill("SIGKILL");
        }
      };
      await Promise.all([write(), write(), write()]);
      expect((await exit).signal).toBe("SIGKILL");
      client.channel.close();
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(15 + 22 + 29 + 36);
  });

  it("leaves a socket behind that the next one removes", async () => {
    const first = startController();
    await first.ready;
    first.child.kill("SIGKILL");
    await first.exit;
    expect(existsSync(`${directory}/controller.sock`)).toBe(true);
    expect(await startController().ready).toMatchObject({ ready: true, listen });
  });
});

describe("it does not start", () => {
  let other: Server | undefined;

  afterEach(async () => {
    if (!other) return;
    other.close();
    await once(other, "close");
    other = undefined;
  });

  async function failure(exit: Promise<Exit>): Promise<string> {
    const { code, stdout, stderr } = await exit;
    expect(code).toBe(1);
    expect(stdout).toBe("");
    return stderr;
  }

  it.each(["0.0.0.0:7000", "10.200.0.1:7000", "[::]:7000", "example.org:7000"])(
    "on %s, which is not loopback",
    async (address) => {
      const { exit } = start("--listen", address, "--state-dir", join(directory, "state"));
      expect(await failure(exit)).toMatch(/not a loopback address.*--tls/);
      expect(existsSync(join(directory, "state"))).toBe(false);
    },
  );

  it.each(["7000", "unix:", "host", "127.0.0.1:99999", "http://127.0.0.1:80"])(
    "on %j, which is no address",
    async (address) => {
      const { exit } = start("--listen", address, "--state-dir", join(directory, "state"));
      expect(await failure(exit)).toMatch(/^slimfast-controller: /);
    },
  );

  it("with a state directory that another controller has", async () => {
    await startController().ready;
    const { exit } = start("--listen", `unix:${directory}/other.sock`, "--state-dir", join(directory, "state"));
    expect(await failure(exit)).toMatch(/state directory .* is in use by another controller/);
    expect(existsSync(`${directory}/other.sock`)).toBe(false);
  });

  it("on a socket where another controller answers, which goes on", async () => {
    await startController().ready;
    const { exit } = startController(join(directory, "other-state"));
    expect(await failure(exit)).toMatch(/somebody answers/);
    expect((await connectClient().cluster.listNodes({})).nodes).toEqual([]);
  });

  it("in place of a file that is no socket", async () => {
    writeFileSync(`${directory}/controller.sock`, "precious");
    expect(await failure(startController().exit)).toMatch(/is not a socket/);
    expect(existsSync(`${directory}/controller.sock`)).toBe(true);
  });

  it("on a TCP port that is taken", async () => {
    other = createServer();
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : 0;
    const { exit } = start("--listen", `127.0.0.1:${port}`, "--state-dir", join(directory, "state"));
    expect(await failure(exit)).toMatch(/cannot listen on 127\.0\.0\.1/);
  });
});
