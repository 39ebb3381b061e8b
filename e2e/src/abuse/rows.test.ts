/**
 * The rows of the threat model that take two: a container and its neighbour, somebody on the wire, a thief of
 * credentials. Attempts are real, and each kind is shown to succeed where nothing protects or for whom it may.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "../fixture/cluster.js";
import { Account, type Attempt, nameOf } from "./attempts.js";
import { exclusionsOf, mismatches } from "./matrix.js";
import { closedDoors, nodesDoors, passedOn, stolenCredentials } from "./rows/identity.js";
import { cookiesSent, realPorts, realPortsControl, shared, underlayAddress } from "./rows/listeners.js";
import { beyondLimits, interrupted } from "./rows/taking.js";
import { flooding, forging, reuse } from "./rows/wire.js";
import { createNetwork, enter, LIMITS, type Stage } from "./stage.js";

const ROWS = [3, 7, 8, 10, 11, 12, 13, 14, 15, 16];

let stage: Stage;
let node1: string;
let node2: string;

beforeAll(async () => {
  const { sockets, listeners, connects } = LIMITS;
  const endpointLimits = `sockets=${sockets},listeners=${listeners},connects=${connects}`;
  stage = { cluster: await Cluster.start({ tls: true, endpointLimits }), account: new Account() };
  await createNetwork(stage);
  node1 = underlayAddress(stage.cluster.netnsOf("node-1"));
  node2 = underlayAddress(stage.cluster.netnsOf("node-2"));
});

afterAll(async () => {
  await stage?.cluster.stop();
  console.log(`${stage?.account}\n${exclusionsOf(ROWS)}`);
});

function expectBlocked(attempts: readonly Attempt[], atLeast: number): void {
  expect(attempts.length).toBeGreaterThanOrEqual(atLeast);
  expect(enter(stage, attempts).map((achieved) => `${nameOf(achieved)}: ${achieved.error}`)).toEqual([]);
}

describe("a container and its neighbours", () => {
  it("row 3: nothing of the node's is bound, nothing is reached past dispatch", async () => {
    expect(await realPortsControl(stage, node1)).toBe(1);
    expectBlocked(await realPorts(stage, node1), 9 + 27 * 6 + 27);
  });

  it("row 7: a socket keeps its owner, whoever has it", async () => {
    const { attempts, control } = await passedOn(stage);
    expect(control.sort()).toEqual([...Array(3).fill("ok, moved"), ...Array(6).fill("ok, otherd")]);
    expectBlocked(attempts, 18);
  });

  it("row 8: a listener is shared with nobody", async () => {
    expectBlocked(await shared(stage), 9);
  });

  it("row 10: nobody has more than his share, or keeps another from his", async () => {
    expectBlocked(await beyondLimits(stage), 72);
  });

  it("row 11: ends in the middle of a call leave nothing", async () => {
    expectBlocked(await interrupted(stage), 16);
  });
});

describe("somebody on the wire", () => {
  it("row 12: forged SYNs get nowhere", async () => {
    const { attempts, control } = await forging(stage, node1, node2);
    expect(control, "rightly forged, from a node's own address: see docs/security.md").toEqual({
      inet: "SYN+ACK",
      inet6: "SYN+ACK",
      mapped: "SYN+ACK",
    });
    expectBlocked(attempts, 138);
  });

  it("row 13: connections are set up during a flood", async () => {
    const before = cookiesSent(stage.cluster.netnsOf("node-2"));
    expectBlocked(await flooding(stage, node1, node2), 600);
    expect(cookiesSent(stage.cluster.netnsOf("node-2"))).toBeGreaterThan(before);
  });

  it("row 14: an address's next owner gets nothing that was meant for the former one", async () => {
    expectBlocked(await reuse(stage, node1, node2), 6);
  });
});

describe("the node's own", () => {
  it("row 15: sockets and descriptors are closed to containers", async () => {
    // The console listens on 127.0.0.1 alone, and root of the machine is kept from nobody's descriptors but its own.
    expect(closedDoors(stage)).toEqual(["[::1]:7080"]);
    expectBlocked(await nodesDoors(stage), 22);
  });

  it("row 16: stolen credentials have their own rights only", async () => {
    expectBlocked(await stolenCredentials(stage), 29);
  });
});

it("every combination of row, family and way that applies was tried", () => {
  expect(mismatches(stage.account, ROWS)).toEqual([]);
  expect(stage.account.leaked).toBe(0);
});
