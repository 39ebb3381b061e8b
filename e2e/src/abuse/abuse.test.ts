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
import { mismatches } from "./matrix.js";
import { HOST_PORT, NodeSide } from "./node-side.js";
import { differencesOf, isTold, leaksOf, nameOfOption, readSweep, readTables } from "./options.js";
import { hostile } from "./stage.js";

/** Attempts that are achieved nowhere on this kernel, and are made all the same. */
const WITHOUT_CONTROL: readonly { readonly attempt: RegExp; readonly family?: string; readonly why: string }[] = [
  { attempt: /v4-compatible/, family: "inet6", why: "Linux has no route for ::/96" },
  { attempt: /^SO_PEERNAME$/, why: "it is compared with getpeername, and equals it where nothing is hidden" },
  { attempt: /^SIOCGIF(ADDR|NETMASK)$/, family: "inet6", why: "IPv6 sockets do not know it" },
  { attempt: /^SIOCGIF(ADDR|NETMASK)$/, family: "mapped", why: "IPv6 sockets do not know it" },
  { attempt: /^unshare/, why: "a new namespace has no server; with a host socket one would be reached" },
  { attempt: /x32$/, why: "kernels are built without x32" },
];

const SWEEP = hostile("sweep");
const allowedBy = readTables();

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

/** Python's fcntl and glibc's if_nametoindex ask datagram sockets, as Java's NetworkInterface does. */
const INTERFACES_OF_ITS_OWN = `
import array, fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names = array.array("B", bytes(4000))
length = struct.unpack("iP", fcntl.ioctl(s, 0x8912, struct.pack("iP", 4000, names.buffer_info()[0])))[0]
entries = [bytes(names[i:i + 40]) for i in range(0, length, 40)]
for entry in entries:
    name = entry[:16].rstrip(b"\\0")
    request = fcntl.ioctl(s, 0x8915, struct.pack("16s24x", name))
    print(name.decode(), socket.inet_ntoa(request[20:24]), socket.if_nametoindex(name.decode()) > 0)
for command in 0x8912, 0x8914, 0x894c:
    t = socket.socket()
    try: print(fcntl.ioctl(t, command, struct.pack("40x")))
    except OSError as failure: print(failure.errno)
print(struct.unpack("i", fcntl.ioctl(t, 0x541b, b"1234"))[0])
`;

it("its own sockets tell of its own interfaces", async () => {
  const output = await cluster.output({}, ["python3", "-c", INTERFACES_OF_ITS_OWN]);
  expect(output).toMatch(/^lo 127\.0\.0\.1 True\n\S+ 10\.32\.\d+\.\d+ True\n1\n1\n1\n0\n$/);
});

describe.each<TierChoice>(["notify", "preload"])("%s", (tier) => {
  it("no attempt on sockets is achieved", async () => {
    const attempts = readAttempts(await cluster.output({ tier }, program));
    expect(attempts.length).toBeGreaterThan(700);
    for (const attempt of attempts) account.add(attempt);
    expect(attempts.filter(({ achieved }) => achieved).map(nameOf)).toEqual([]);
  });

  it("no option is set or read but those of the tables, and those as the kernel has them", async () => {
    const native = readSweep(node.output(SWEEP));
    const ours = readSweep(await cluster.output({ tier }, SWEEP));
    expect(ours.map(nameOfOption)).toEqual(native.map(nameOfOption));
    // The control: it could have been set and read.
    const unlisted = native.filter((swept) => leaksOf(swept, allowedBy(swept.level, swept.option)).length > 0);
    expect(unlisted.length).toBeGreaterThan(30);
    const leaks = ours.flatMap((swept) => leaksOf(swept, allowedBy(swept.level, swept.option)));
    // What is nobody's option is no attempt.
    for (const [index, swept] of native.entries()) {
      const { level, option, set, get } = swept;
      const by = { family: swept.family === "AF_INET" ? "inet" : "inet6", way: "direct" } as const;
      const attempt = `option ${option} of level ${level}`;
      const allowed = allowedBy(level, option);
      const tried = ours[index];
      set.forEach((could, way) => {
        if (!allowed.set && could === "ok") account.add({ row: 4, attempt, ...by, achieved: tried?.set[way] === "ok" });
      });
      get.forEach((could, way) => {
        if (!allowed.get && isTold(could))
          account.add({ row: 5, attempt, ...by, achieved: isTold(tried?.get[way] ?? "") });
      });
    }
    expect(leaks).toEqual([]);
    const differences = ours.flatMap((swept, index) =>
      differencesOf(swept, native[index] ?? swept, allowedBy(swept.level, swept.option)),
    );
    expect(differences).toEqual([]);
  });
});

it("nothing has leaked, and every combination that applies was tried", () => {
  expect(mismatches(account, [1, 2, 4, 5, 6, 9])).toEqual([]);
  expect(account.leaked).toBe(0);
});
