/**
 * A node that does not hear of changes, and one that has lost everything: no connection reaches the next owner of an address by what was
 * true of a former one.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../apps/box.js";
import { appProgram } from "../apps/programs.js";
import { IS_FULL } from "../apps/stage.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { kill, pidsOf, startAgain } from "./agent-process.js";

const PORT = 7_000;
const ADDRESS = "10.32.9.9";
/** Each takes the two seconds that the controller waits for a node that does not answer. */
const OWNERS = IS_FULL ? 20 : 3;
const TIMEOUT_MS = IS_FULL ? 600_000 : 240_000;

/** What becomes of a connection: the answer's length, or the error's name. */
const TRY = `
import errno, socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as client:
        client.sendall(b"x")
        print(len(client.recv(10)))
except OSError as error:
    print(errno.errorcode.get(error.errno, error))
`;

let cluster: Cluster;
let client: Box;

beforeAll(async () => {
  cluster = await Cluster.start();
  client = await Box.endpoint(cluster, "node-2", "client", "notify");
});

afterAll(async () => {
  await client?.close();
  await cluster?.stop();
});

async function owner(name: string): Promise<Box> {
  const box = await Box.endpoint(cluster, "node-1", name, "notify", "default", ADDRESS);
  await box.start([...appProgram("connections.py"), "serve", String(PORT), "1"], { prints: /ready/ });
  return box;
}

async function attempt(): Promise<string> {
  return (await client.output(["python3", "-c", TRY, ADDRESS, String(PORT)])).trim();
}

it("a node that hears of nothing reaches no later owner of an address", { timeout: TIMEOUT_MS }, async () => {
  let present = await owner("owner-0");
  expect(await attempt()).toBe("1");
  const { agent } = pidsOf(cluster, "node-2");
  process.kill(agent, "SIGSTOP");
  try {
    for (let number = 1; number <= OWNERS; number += 1) {
      await present.close();
      expect(await attempt(), "nobody has the address").toBe("ECONNREFUSED");
      present = await owner(`owner-${number}`);
      expect(await attempt(), "another one has it").toBe("ECONNREFUSED");
    }
  } finally {
    process.kill(agent, "SIGCONT");
  }
  await until(async () => (await attempt()) === "1", "the node hears of the present owner");
  await present.close();
});

it("what a node had that was rebooted is withdrawn, and its addresses are free", { timeout: TIMEOUT_MS }, async () => {
  const lost = await owner("lost");
  expect(await attempt()).toBe("1");
  const { agent, keeper } = pidsOf(cluster, "node-1");
  // As after a power failure, neither has a chance to say anything. The processes of a reboot are gone as well.
  await kill(agent);
  await kill(keeper);
  await lost.stopPrograms();
  await startAgain(cluster);
  await until(async () => (await attempt()) === "EHOSTUNREACH", "node-2 knows that the address is nobody's");
  const { endpoints } = await cluster.status().then(({ controller }) => controller);
  expect(endpoints.map(({ name }) => name)).not.toContain("lost");
  const next = await owner("next");
  await until(async () => (await attempt()) === "1", "the next owner is reached");
  await next.close();
});
