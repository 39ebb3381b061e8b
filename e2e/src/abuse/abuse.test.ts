/**
 * What a hostile container may try (the threat model, docs/security.md) is tried by e2e/programs/abuse in endpoints of
 * both tiers, as root with every capability. The same attempts are made in the node's own namespace, where they have to
 * be achieved: so a protected socket is told from an attempt that could not have worked.
 */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster, type TierChoice } from "../fixture/cluster.js";
import { built } from "../fixture/programs.js";
import { Account, type Attempt, nameOf, readAttempts } from "./attempts.js";
import { HOST_PORT, NodeSide } from "./node-side.js";

/** Attempts that are achieved nowhere on this kernel, and are made all the same. */
const WITHOUT_CONTROL: readonly { readonly attempt: RegExp; readonly family?: string; readonly why: string }[] = [
  { attempt: /v4-compatible/, family: "inet6", why: "Linux has no route for ::/96" },
  { attempt: /^SO_PEERNAME$/, why: "it is compared with getpeername, and equals it where nothing is hidden" },
  { attempt: /^SIOCGIF(ADDR|NETMASK)$/, family: "inet6", why: "IPv6 sockets do not know it" },
  { attempt: /^SIOCGIF(ADDR|NETMASK)$/, family: "mapped", why: "IPv6 sockets do not know it" },
  { attempt: /^unshare/, why: "a new namespace has no server; with a host socket one would be reached" },
  { attempt: /x32$/, why: "kernels are built without x32" },
];

/** ioctl is not filtered yet: these are achieved, and counted. */
const OPEN_ROWS: readonly number[] = [6];

const account = new Account();
let cluster: Cluster;
let node: NodeSide;
let nodeAddress: string;
let program: string[];

beforeAll(async () => {
  cluster = await Cluster.start();
  const netns = cluster.netnsOf("node-1");
  node = await NodeSide.start(netns);
  nodeAddress = underlayAddress(netns);
  program = [built("abuse"), "attempts", String(HOST_PORT), nodeAddress];
});

afterAll(async () => {
  await node?.stop();
  await cluster?.stop();
  console.log(String(account));
});

/** Of the device that leads to the other nodes. */
function underlayAddress(netns: string): string {
  const list = execFileSync("nsenter", [`--net=/run/netns/${netns}`, "ip", "-json", "-4", "address"], {
    encoding: "utf8",
  });
  const devices = JSON.parse(list) as { ifname: string; addr_info: { local: string }[] }[];
  const address = devices.find(({ ifname }) => ifname !== "lo")?.addr_info[0]?.local;
  if (address === undefined) throw new Error(`${netns} has no address: ${list}`);
  return address;
}

function hasControl({ attempt, family }: Attempt): boolean {
  return !WITHOUT_CONTROL.some((known) => known.attempt.test(attempt) && (known.family ?? family) === family);
}

it("every attempt is achieved where nothing protects", () => {
  const attempts = readAttempts(node.output(program));
  expect(attempts.length).toBeGreaterThan(700);
  const failed = attempts.filter((attempt) => !attempt.achieved && hasControl(attempt));
  expect(failed.map((attempt) => `${nameOf(attempt)}: ${attempt.error}`)).toEqual([]);
});

describe.each<TierChoice>(["notify", "preload"])("%s", (tier) => {
  it("no attempt on sockets is achieved", async () => {
    const attempts = readAttempts(await cluster.output({ tier }, program));
    expect(attempts.length).toBeGreaterThan(700);
    for (const { row, achieved } of attempts) account.add(row, achieved);
    const leaks = attempts.filter(({ achieved, row }) => achieved && !OPEN_ROWS.includes(row));
    expect(leaks.map(nameOf)).toEqual([]);
  });
});
