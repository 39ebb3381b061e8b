/**
 * A program cannot tell a host socket from one of its container's own: e2e/programs/semantics goes through what system
 * calls do, in an ordinary network namespace and in endpoints, and the results are compared. Differences that are known
 * are listed here, and nowhere accepted silently.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster, type TierChoice } from "../fixture/cluster.js";
import { script } from "../fixture/programs.js";
import { inPlainNamespace, PLAIN_ADDRESS } from "../fixture/surroundings.js";

type Results = Readonly<Record<string, unknown>>;

/** Longer than all time-outs within. */
const PROGRAM = ["timeout", "50", ...script("semantics")];

const KNOWN_DIFFERENCES: readonly { readonly case: string; readonly native: unknown; readonly ours: unknown }[] = [
  {
    // The kernel's receive function of sockets that are in a BPF socket map does not look at the state.
    case: "calls on a listener",
    native: expect.objectContaining({ recv: "ENOTCONN" }),
    ours: expect.objectContaining({ recv: "EAGAIN" }),
  },
  // Nothing of ours can refuse a listen(2): the two get connections in turn.
  { case: "listening on a port that another shares", native: ["ok", "EADDRINUSE", "ok"], ours: ["ok", "ok", "ok"] },
];

let cluster: Cluster;
let native: Results;

beforeAll(async () => {
  cluster = await Cluster.start();
  const [command = "", ...args] = inPlainNamespace([...PROGRAM, PLAIN_ADDRESS]);
  const { stdout } = await promisify(execFile)(command, args);
  native = JSON.parse(stdout) as Results;
});

afterAll(() => cluster?.stop());

it("the cases work where there is nothing between program and kernel", () => {
  expect(Object.keys(native).length).toBeGreaterThan(40);
  for (const [name, result] of Object.entries(native)) expect(String(result), name).not.toContain("Error:");
  for (const known of KNOWN_DIFFERENCES) expect(native[known.case], known.case).toEqual(known.native);
});

describe.each<TierChoice>(["notify", "preload"])("%s", (tier) => {
  it("does as the kernel does", async () => {
    const inEndpoint = `exec "$@" $(hostname -I)`;
    const output = await cluster.output({ tier }, ["sh", "-c", inEndpoint, "sh", ...PROGRAM]);
    const ours = JSON.parse(output) as Results;
    const expected = Object.fromEntries(KNOWN_DIFFERENCES.map((known) => [known.case, known.ours]));
    const wanted: Results = { ...native, ...expected };
    const names = new Set([...Object.keys(wanted), ...Object.keys(ours)]);
    for (const name of names) expect.soft(ours[name], name).toEqual(wanted[name]);
    // Apart from what is different in it, too.
    const listenerCalls = "calls on a listener";
    expect({ ...(ours[listenerCalls] as object), recv: "" }).toEqual({
      ...(native[listenerCalls] as object),
      recv: "",
    });
  });
});
