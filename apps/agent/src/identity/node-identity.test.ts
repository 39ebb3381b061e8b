/** Joining over TLS, with the real controller: what is kept, what is renewed, and what is said when it does not work. */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectController } from "@slimfast/client";
import { Role } from "@slimfast/proto";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventually } from "../testing/eventually.js";
import { RealController } from "../testing/real-controller.js";
import { WALL_CLOCK } from "./clock.js";
import { readCredentials, readFacts } from "./credentials.js";
import { type IdentityOptions, NodeIdentity } from "./node-identity.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let controller: RealController;
let path: string;
const opened: NodeIdentity[] = [];

beforeEach(async () => {
  controller = new RealController();
  await controller.start();
  path = join(controller.directory, "node", "identity.pem");
});

afterEach(async () => {
  for (const identity of opened.splice(0)) identity.close();
  await controller.remove();
});

async function open(joinToken?: string, more: Partial<IdentityOptions> = {}): Promise<NodeIdentity> {
  const identity = await NodeIdentity.open({
    node: "node-1",
    addresses: [controller.address],
    path,
    trust: {},
    joinToken: async () => joinToken,
    clock: WALL_CLOCK,
    timeoutMs: 5_000,
    log: pino({ enabled: false }),
    ...more,
  });
  opened.push(identity);
  return identity;
}

async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

describe("a node", () => {
  it("joins with a token, once, and keeps key and certificate for itself", async () => {
    const token = await controller.joinToken();
    const identity = await open(token);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, "..")).mode & 0o777).toBe(0o700);
    expect(identity.expireTimeMs).toBeGreaterThan(Date.now());
    const kept = readFileSync(path, "utf8");
    await open();
    expect(readFileSync(path, "utf8")).toBe(kept);
    expect(await refusal(open(token, { node: "node-2", path: `${path}-2` }))).toMatch(
      /node node-2 cannot join: .*wrong, or was revoked or used up: make another one with slimfast node join-command/,
    );
  });

  it("goes on with what it has while the controller is away", async () => {
    await open(await controller.joinToken());
    await controller.stop();
    await open(undefined, { timeoutMs: 300 });
    expect(await refusal(open(undefined, { timeoutMs: 300, path: `${path}-2` }))).toMatch(/--join-token/);
  });

  it("joins a controller that comes up later", async () => {
    const token = await controller.joinToken();
    await controller.stop();
    const joining = open(token, { timeoutMs: 60_000 });
    await sleep(500);
    await controller.start();
    await joining;
  });

  it("keeps the name that it has", async () => {
    await open(await controller.joinToken());
    expect(await refusal(open(await controller.joinToken(), { path: `${path}-2` }))).toMatch(
      /node node-1 has a certificate already/,
    );
    expect(await refusal(open(undefined, { node: "node-2" }))).toMatch(/certificate of node node-1, not of node-2/);
  });

  it("whose certificate was revoked is told so, and joins again with another token", async () => {
    await open(await controller.joinToken());
    await controller.client.access.revokeNodeCertificates({ node: "node-1" });
    expect(await refusal(open())).toMatch(/node node-1 in .*was revoked.*: join again/);
    const former = readFileSync(path, "utf8");
    await open(await controller.joinToken());
    expect(readFileSync(path, "utf8")).not.toBe(former);
  });
});

describe("what is refused, and why:", () => {
  it("a token that has expired, one of another role, and none", async () => {
    const expired = await controller.joinToken({ lifetimeSeconds: 1 });
    await sleep(1_100);
    expect(await refusal(open(expired))).toMatch(/token join-\w+ has expired: make another one/);
    const { secret } = await controller.client.access.createToken({ token: { name: "v", role: Role.ROLE_VIEWER } });
    const [, pin = ""] = expired.split(".");
    expect(await refusal(open(secret, { trust: { pin } }))).toMatch(/token v is no join token/);
    expect(await refusal(open("nonsense"))).toMatch(/malformed/);
    expect(await refusal(open(secret))).toMatch(/--ca-pin or --ca-file/);
    expect(await refusal(open())).toMatch(/no join token.*--join-token-file/);
  });

  it("another cluster: by its pin, by its authority, and with the certificate of this one", async () => {
    const other = new RealController();
    try {
      await other.start();
      const token = await controller.joinToken();
      const atOther = { addresses: [other.address] };
      expect(await refusal(open(token, atOther))).toMatch(/not the cluster that the fingerprint names.*--ca-pin/);
      await open(token);
      expect(await refusal(open(undefined, atOther))).toMatch(/signed by an authority that this node does not trust/);
    } finally {
      await other.remove();
    }
  });

  it("a clock that is wrong", async () => {
    const behind = { ...WALL_CLOCK, nowMs: () => Date.now() - 3_600_000 };
    expect(await refusal(open(await controller.joinToken(), { clock: behind }))).toMatch(
      /clocks .* differ.*set the clock/,
    );
    await controller.client.access.revokeNodeCertificates({ node: "node-1" });
    rmSync(path, { force: true });
    await open(await controller.joinToken());
    const ahead = { ...WALL_CLOCK, nowMs: () => Date.now() + 7_200_000 };
    expect(await refusal(open(undefined, { clock: ahead }))).toMatch(/has expired at .*: join again/);
  });

  it("a file that is damaged", async () => {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, "not PEM");
    expect(await refusal(open(await controller.joinToken()))).toMatch(/damaged: remove it/);
  });
});

describe("a certificate", () => {
  it("is renewed with a new key before it ends, and the file follows", async () => {
    const identity = await open(await controller.joinToken());
    const first = await readCredentials(path);
    if (!first) throw new Error("there is no file");
    let nowMs = Date.now();
    const waits: number[] = [];
    identity.close();
    // The same file, and a clock that jumps over every pause.
    const clock = {
      nowMs: () => nowMs,
      pause: async (ms: number) => {
        waits.push(ms);
        nowMs += ms;
      },
    };
    const jumping = await open(undefined, { clock });
    let failures = 2;
    let replaced = 0;
    const renewing = {
      renewCertificate: async (request: { certificateRequest: Buffer }) => {
        failures -= 1;
        if (failures >= 0) throw new Error("the controller is away");
        const client = connectController({ address: controller.address, tls: () => jumping.tls() });
        try {
          return await client.agent.renewCertificate(request);
        } finally {
          client.close();
        }
      },
    };
    const lifeMs = 3_600_000;
    jumping.start(renewing, () => {
      replaced += 1;
      // What is valid by the controller's clock has to be so by this one.
      nowMs = Date.now();
    });
    await eventually(() => expect(replaced).toBeGreaterThanOrEqual(2));
    const [untilRenewal = 0, ...retries] = waits;
    expect(untilRenewal / lifeMs).toBeGreaterThan(0.4);
    expect(untilRenewal / lifeMs).toBeLessThan(0.71);
    expect(retries.slice(0, 2).every((ms) => ms > 0 && ms <= 5 * 60_000)).toBe(true);
    const now = await readCredentials(path);
    expect(now?.privateKey).not.toBe(first.privateKey);
    expect(readFacts(first).node).toBe("node-1");
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
