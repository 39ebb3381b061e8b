import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CliError } from "../exit-codes.js";
import { remoteTarget } from "./settings.js";

let directory: string;
let environment: Record<string, string>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-settings-"));
  environment = { SLIMFAST_CONFIG: join(directory, "config.yaml") };
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function configure(text: string): void {
  writeFileSync(join(directory, "config.yaml"), text);
}

const FILE = `
current: one
contexts:
  one: {server: "192.0.2.1:7443", token: sf_one, ca: "sha256:ab"}
  two: {server: ["127.0.0.1:1", "unix:/run/x.sock"]}
`;

function refusal(action: () => unknown): CliError {
  try {
    action();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

it("is this machine's cluster where nothing is said", () => {
  expect(remoteTarget({}, environment)).toBeNull();
  expect(remoteTarget({}, { ...environment, SLIMFAST_RUN_DIR: "/run/x" })).toBeNull();
});

it("comes from options before the environment before the file", () => {
  configure(FILE);
  const one = { address: ["192.0.2.1:7443"], token: "sf_one", tls: { fingerprint: "ab" } };
  expect(remoteTarget({}, environment)).toEqual(one);
  expect(remoteTarget({ context: "two" }, environment)).toEqual({ address: ["127.0.0.1:1", "unix:/run/x.sock"] });
  const inEnvironment = { ...environment, SLIMFAST_SERVER: "127.0.0.1:2", SLIMFAST_TOKEN: "sf_two" };
  expect(remoteTarget({}, inEnvironment)).toEqual({ address: ["127.0.0.1:2"], token: "sf_two" });
  expect(remoteTarget({ server: "127.0.0.1:3, 127.0.0.1:4" }, inEnvironment)).toEqual({
    address: ["127.0.0.1:3", "127.0.0.1:4"],
    token: "sf_two",
  });
  expect(remoteTarget({ context: "one" }, { ...environment, SLIMFAST_SERVER: "127.0.0.1:2" })).toEqual(one);
  // A run directory of one's own is a cluster of one's own.
  expect(remoteTarget({}, { ...environment, SLIMFAST_RUN_DIR: "/run/x" })).toBeNull();
});

it("reads the token and the authority from files", () => {
  const token = join(directory, "token");
  const ca = join(directory, "ca.pem");
  writeFileSync(token, "sf_three\n");
  writeFileSync(ca, "PEM");
  expect(remoteTarget({ server: "h:1", token: `@${token}`, ca }, environment)).toEqual({
    address: ["h:1"],
    token: "sf_three",
    tls: { ca: "PEM" },
  });
});

it("uses TLS for every other machine", () => {
  expect(remoteTarget({ server: "192.0.2.1:1" }, environment)?.tls).toEqual({});
  expect(remoteTarget({ server: "127.0.0.1:1,192.0.2.1:1" }, environment)?.tls).toEqual({});
});

it("refuses what makes no sense", () => {
  expect(refusal(() => remoteTarget({ token: "x" }, environment)).code).toBe("usage");
  expect(refusal(() => remoteTarget({ server: "h:1", ca: "/nonexistent" }, environment)).message).toContain("--ca");
  expect(refusal(() => remoteTarget({ server: "h:1", token: "@/nonexistent" }, environment)).message).toContain(
    "token",
  );
  expect(refusal(() => remoteTarget({ context: "none" }, environment)).remedy).toBe("it has none at all");
  configure(FILE);
  expect(refusal(() => remoteTarget({ context: "none" }, environment)).remedy).toBe("it has: one, two");
  configure("contexts: {bad: {server: 5}}\ncurrent: bad");
  expect(refusal(() => remoteTarget({}, environment)).message).toContain("contexts.bad.server");
  configure("contexts: [");
  expect(refusal(() => remoteTarget({}, environment)).message).toContain("is no YAML");
});
