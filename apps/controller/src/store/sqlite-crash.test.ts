/** kill -9 in the midst of 10,000 writes: nothing that was acknowledged is lost. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openSqliteStore } from "./sqlite-store.js";

const STORE = new URL("../../dist/store/sqlite-store.js", import.meta.url).href;
const WRITES = 10_000;

/** Writes from the number on, several at a time, and says each number that was acknowledged. */
const WRITER = `
import { writeSync } from "node:fs";
const { openSqliteStore } = await import(process.argv[1]);
const store = openSqliteStore(process.argv[2]);
let next = Number(process.argv[3]);
const write = async () => {
  while (next < ${WRITES}) {
    const number = next++;
    await store.transaction((tx) => tx.put("counter", { name: "write-" + number, next: number }));
    writeSync(1, number + "\\n");
  }
};
await Promise.all(Array.from({ length: 8 }, write));
await store.close();
`;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slimfast-crash-test-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

it("loses nothing acknowledged when it is killed again and again", { timeout: 180_000 }, async () => {
  const acknowledged = new Set<number>();
  let kills = 0;
  while (acknowledged.size < WRITES) {
    const before = acknowledged.size;
    // Those that were under way and not acknowledged are written again.
    const options = ["--input-type=module", "-e", WRITER, STORE, directory];
    let from = 0;
    while (acknowledged.has(from)) from += 1;
    const child = spawn(process.execPath, [...options, String(from)], { stdio: ["ignore", "pipe", "inherit"] });
    const exit = once(child, "exit");
    for await (const line of createInterface(child.stdout)) {
      acknowledged.add(Number(line));
      if (kills < 4 && acknowledged.size >= before + 1_500) child.kill("SIGKILL");
    }
    const [code, signal] = await exit;
    if (signal === "SIGKILL") kills += 1;
    else expect(code).toBe(0);
    const store = openSqliteStore(directory);
    const missing = [...acknowledged].filter((number) => store.get("counter", `write-${number}`)?.next !== number);
    expect(missing).toEqual([]);
    await store.close();
  }
  expect(kills).toBe(4);
});
