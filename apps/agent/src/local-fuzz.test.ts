/**
 * Any bytes on the agent's socket, to its real server: as HTTP/2 or not, as messages or not. Nothing ends it, every answer is
 * a documented status, and what was attached can be detached. SLIMFAST_FUZZ_SEED repeats a run as far as timing allows;
 * SLIMFAST_FUZZ_MS makes it longer.
 */
import { once } from "node:events";
import { createConnection } from "node:net";
import { Client, credentials } from "@grpc/grpc-js";
import { AttachEndpointRequest, DetachEndpointRequest, LocalServiceDefinition } from "@slimfast/proto";
import fc from "fast-check";
import { Status } from "nice-grpc";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TestBed } from "./testing/agent.js";

const FUZZ_MS = Number(process.env.SLIMFAST_FUZZ_MS ?? 3_000);
const SEED = Number(process.env.SLIMFAST_FUZZ_SEED ?? Date.now() % 1_000_000);
/** A call that should have been answered long ago. */
const CALL_MS = 15_000;
/** How long a stream is listened to. */
const STREAM_MS = 50;
const LONGEST_BYTES = 64;

const DOCUMENTED = new Set([
  Status.OK,
  Status.CANCELLED,
  Status.INVALID_ARGUMENT,
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.FAILED_PRECONDITION,
]);

let bed: TestBed;
let raw: Client;

beforeEach(async () => {
  bed = await TestBed.create();
  await bed.startAgent();
  raw = new Client(`unix://${bed.socket}`, credentials.createInsecure());
});
afterEach(async () => {
  raw.close();
  await bed.remove();
});

const asIs = (bytes: Buffer): Buffer => bytes;

async function call(method: string, request: Uint8Array): Promise<{ code: Status; details: string }> {
  const path = `/${LocalServiceDefinition.fullName}/${method}`;
  const options = { deadline: Date.now() + CALL_MS };
  const stream = raw.makeServerStreamRequest(path, asIs, asIs, Buffer.from(request), options);
  const cancel = method.startsWith("Watch") ? setTimeout(() => stream.cancel(), STREAM_MS) : undefined;
  stream.on("error", () => undefined).resume();
  const status = await new Promise<{ code: Status; details: string }>((resolve) => stream.on("status", resolve));
  clearTimeout(cancel);
  return status;
}

/** Whoever connects and does not speak HTTP/2, or breaks off. */
async function write(bytes: Uint8Array): Promise<void> {
  const socket = createConnection(bed.socket);
  socket.on("error", () => undefined);
  const closed = once(socket, "close");
  socket.end(Buffer.from(bytes)).resume();
  setTimeout(() => socket.destroy(), STREAM_MS);
  await closed;
}

const text = fc.oneof(
  fc.constantFrom(
    "web",
    "db",
    "blue",
    "default",
    "node-1",
    "",
    "UPPER",
    "a/b",
    "..",
    "\u0000",
    "10.32.0.5",
    "fd00::5",
    "x".repeat(300),
  ),
  fc.string({ maxLength: 20 }),
);
const number = fc.oneof(fc.constantFrom(0, 1, 80, 65_535, 65_536, 0xffff_ffff), fc.nat());
const publishedPorts = fc.array(fc.record({ hostPort: number, endpointPort: number }), { maxLength: 3 });
/** Mostly what there is, so that something is attached, and detached again. */
const mostly = (...likely: string[]) =>
  fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...likely) }, { weight: 1, arbitrary: text });
const attach = fc
  .record({
    ...{ name: mostly("web", "db"), network: mostly("blue"), address: mostly(""), address6: mostly("") },
    ...{ publishedPorts, labels: fc.dictionary(text, text, { maxKeys: 3 }) },
    ...{ ephemeral: fc.boolean(), plain: fc.boolean() },
  })
  .map((request) => AttachEndpointRequest.encode(AttachEndpointRequest.create(request)).finish());
const detach = fc
  .record({ network: mostly("blue"), name: mostly("web", "db") })
  .map((request) => DetachEndpointRequest.encode(DetachEndpointRequest.create(request)).finish());
const bytes = fc.uint8Array({ maxLength: LONGEST_BYTES });
/** The beginning of what every client of HTTP/2 says, and frames that are none. */
const almostHttp2 = bytes.map((rest) => Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), rest]));
const methods = Object.values(LocalServiceDefinition.methods).map(({ name }) => name);

const deed = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant("AttachEndpoint"), fc.oneof(attach, bytes)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("DetachEndpoint"), fc.oneof(detach, bytes)) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...methods, "NoSuchMethod"), bytes) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("write"), fc.oneof(bytes, almostHttp2)) },
);

it(
  "survives any bytes",
  async () => {
    process.stderr.write(`fuzz of the agent's socket: SLIMFAST_FUZZ_SEED=${SEED}\n`);
    const codes = new Map<string, number>();
    const act = async ([method, request]: [string, Uint8Array]) => {
      if (method === "write") return await write(request);
      const { code, details } = await call(method, request);
      const isOfTransport =
        (code === Status.INTERNAL && details.startsWith("Error deserializing request")) ||
        (code === Status.UNIMPLEMENTED && method === "NoSuchMethod");
      if (!isOfTransport && !DOCUMENTED.has(code)) throw new Error(`${method}: ${Status[code]}: ${details}`);
      codes.set(`${method} ${Status[code]}`, (codes.get(`${method} ${Status[code]}`) ?? 0) + 1);
    };
    const rounds = fc.asyncProperty(fc.array(deed, { minLength: 1, maxLength: 12 }), async (deeds) => {
      await Promise.all(deeds.map(act));
    });
    await fc.assert(rounds, { seed: SEED, numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS, endOnFailure: true });
    // It did reach what is behind the parsers, and the agent goes on as ever.
    expect([...codes.keys()]).toEqual(expect.arrayContaining(["AttachEndpoint OK", "DetachEndpoint OK"]));
    const { local } = bed.connect();
    const { endpoints } = await local.listAttachedEndpoints({});
    for (const { endpoint } of endpoints) {
      await local.detachEndpoint({ network: endpoint?.network ?? "", name: endpoint?.name ?? "" });
    }
    expect(bed.core.held.size).toBe(0);
    expect((await local.getStatus({})).attachedEndpoints).toBe(0);
    expect(bed.log.filter(({ level }) => level >= 50)).toEqual([]);
  },
  FUZZ_MS + 60_000,
);
