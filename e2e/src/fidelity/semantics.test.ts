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
import { inPlainNamespace, PLAIN_ADDRESS, PLAIN_ADDRESS6 } from "../fixture/surroundings.js";

type Results = Readonly<Record<string, unknown>>;

/** Longer than all time-outs within. */
const PROGRAM = ["timeout", "50", ...script("semantics")];

interface KnownDifference {
  readonly case: string;
  readonly native: unknown;
  readonly ours: unknown;
}

const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    // The kernel's receive function of sockets that are in a BPF socket map does not look at the state.
    case: "calls on a listener",
    native: expect.objectContaining({ recv: "ENOTCONN" }),
    ours: expect.objectContaining({ recv: "EAGAIN" }),
  },
  // Nothing of ours can refuse a listen(2): the two get connections in turn.
  { case: "listening on a port that another shares", native: ["ok", "EADDRINUSE", "ok"], ours: ["ok", "ok", "ok"] },
];

/** The families of the addresses that the cases use: networks of one family each. */
const FAMILIES: readonly { family: string; network: string; address: string; tiers: readonly TierChoice[] }[] = [
  { family: "IPv4", network: "default", address: PLAIN_ADDRESS, tiers: ["notify", "preload"] },
  // The preloaded library has sockets of IPv4 only.
  { family: "IPv6", network: "six", address: PLAIN_ADDRESS6, tiers: ["notify"] },
];

let cluster: Cluster;
/** By family, and tier or "native". One after the other: some cases are about what happens within a second. */
const results = new Map<string, Results>();

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", "six", "--prefix6", "fd00:32::/64");
  for (const { family, network, address, tiers } of FAMILIES) {
    results.set(`${family} native`, JSON.parse(await native(address)) as Results);
    for (const tier of tiers) {
      results.set(`${family} ${tier}`, JSON.parse(await inEndpoint(tier, network)) as Results);
    }
  }
});

afterAll(() => cluster?.stop());

async function native(address: string): Promise<string> {
  const [command = "", ...args] = inPlainNamespace([...PROGRAM, address], address);
  return (await promisify(execFile)(command, args)).stdout;
}

function inEndpoint(tier: TierChoice, network: string): Promise<string> {
  return cluster.output({ tier, network }, ["sh", "-c", 'exec "$@" $(hostname -I)', "sh", ...PROGRAM]);
}

describe.each(FAMILIES)("by $family", ({ family, tiers }) => {
  const of = (where: string) => results.get(`${family} ${where}`) ?? {};

  it("the cases work where there is nothing between program and kernel", () => {
    expect(Object.keys(of("native")).length).toBeGreaterThan(40);
    for (const [name, result] of Object.entries(of("native"))) expect(String(result), name).not.toContain("Error:");
    for (const known of KNOWN_DIFFERENCES) expect(of("native")[known.case], known.case).toEqual(known.native);
  });

  it.each(tiers)("%s does as the kernel does", (tier) => {
    const ours = of(tier);
    const expected = Object.fromEntries(KNOWN_DIFFERENCES.map((known) => [known.case, known.ours]));
    const wanted: Results = { ...of("native"), ...expected };
    const names = new Set([...Object.keys(wanted), ...Object.keys(ours)]);
    for (const name of names) expect.soft(ours[name], name).toEqual(wanted[name]);
    // Apart from what is different in it, too.
    const listenerCalls = "calls on a listener";
    expect({ ...(ours[listenerCalls] as object), recv: "" }).toEqual({
      ...(of("native")[listenerCalls] as object),
      recv: "",
    });
  });
});
