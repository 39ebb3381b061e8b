/**
 * Any request to a real server over a real socket: nothing crashes, every answer is a documented status, and the cluster
 * stays consistent. SLIMFAST_FUZZ_SEED repeats a run as far as timing allows; SLIMFAST_FUZZ_MS makes it longer.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { AgentServiceDefinition, ClusterServiceDefinition } from "@slimfast/proto";
import { Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serviceType } from "../domain/descriptors.js";
import { MAX_MESSAGE_BYTES } from "../limits.js";
import { registerNode, type TestClient, TestController } from "../testing/controller.js";
import { brokenInvariants, readState } from "../testing/invariants.js";
import { seededRandom } from "../testing/random.js";
import { RandomRequests } from "../testing/random-requests.js";

const FUZZ_MS = Number(process.env.SLIMFAST_FUZZ_MS ?? 10_000);
/** Requests between two looks at the invariants, under way at the same time. */
const ROUND = 24;
/** A call that should have been answered long ago. */
const CALL_MS = 15_000;
/** How long a stream is listened to before it is cancelled. */
const STREAM_MS = 60;

const DOCUMENTED = new Set([
  Status.OK,
  Status.CANCELLED,
  Status.INVALID_ARGUMENT,
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.FAILED_PRECONDITION,
  Status.ABORTED,
  Status.OUT_OF_RANGE,
  Status.RESOURCE_EXHAUSTED,
  // What needs a certificate, over a socket that has none.
  Status.PERMISSION_DENIED,
  Status.UNAUTHENTICATED,
]);

let controller: TestController;
let client: TestClient;
let raw: Client;

beforeEach(async () => {
  controller = await TestController.start();
  client = controller.client;
  raw = new Client("", credentials.createInsecure(), { channelOverride: client.channel });
});

afterEach(async () => {
  await controller.remove();
});

const asIs = (bytes: Buffer): Buffer => bytes;

interface Answer {
  readonly code: Status;
  readonly details: string;
  readonly responses: readonly Buffer[];
}

function send(path: string, kind: DescMethod["methodKind"], requests: readonly Buffer[]): Promise<Answer> {
  const options = { deadline: Date.now() + CALL_MS };
  const [first = Buffer.alloc(0)] = requests;
  return new Promise((resolve) => {
    if (kind === "unary") {
      raw.makeUnaryRequest(path, asIs, asIs, first, options, (error, response) => {
        if (error) resolve({ code: error.code, details: error.details, responses: [] });
        else resolve({ code: Status.OK, details: "", responses: response ? [response] : [] });
      });
      return;
    }
    const responses: Buffer[] = [];
    const bidirectional = kind === "bidi_streaming" && raw.makeBidiStreamRequest(path, asIs, asIs, options);
    const call = bidirectional || raw.makeServerStreamRequest(path, asIs, asIs, first, options);
    const cancel = setTimeout(() => call.cancel(), STREAM_MS);
    call.on("data", (response: Buffer) => responses.push(response));
    call.on("error", () => {});
    call.on("status", ({ code, details }: Pick<ServiceError, "code" | "details">) => {
      clearTimeout(cancel);
      resolve({ code, details, responses });
    });
    if (bidirectional) for (const request of requests) bidirectional.write(request);
  });
}

/** What is wrong with the answer. */
function complaint({ code, details }: Answer): string | undefined {
  if (DOCUMENTED.has(code)) return undefined;
  // Bytes that are no message of that type: the transport refuses them before any method sees them.
  if (code === Status.INTERNAL && details.startsWith("Error deserializing request")) return undefined;
  return `${Status[code]}: ${details}`;
}

/** Texts in an answer that may come back in later requests. */
function* textsIn(response: Buffer): Generator<string> {
  for (const [text] of response.toString("latin1").matchAll(/"[0-9a-z]{8,}"|[A-Za-z0-9_-]{40,}/g)) yield text;
}

describe("the API", () => {
  it(
    "survives any requests",
    async () => {
      const seed = Number(process.env.SLIMFAST_FUZZ_SEED ?? Date.now() % 1_000_000);
      process.stderr.write(`fuzz of the API: SLIMFAST_FUZZ_SEED=${seed}\n`);
      const random = seededRandom(seed);
      const requests = new RandomRequests(random);
      const methods = [ClusterServiceDefinition, AgentServiceDefinition].flatMap(({ fullName }) =>
        serviceType(fullName).methods.map((method) => ({ method, path: `/${fullName}/${method.name}` })),
      );
      await client.cluster.createNetwork({
        network: { name: "blue", prefix: "10.32.0.0/28", prefix6: "fd00:32::/120" },
      });
      for (const number of [1, 2]) await registerNode(client, number);
      const codes = new Map<string, number>();
      const end = Date.now() + FUZZ_MS;
      while (Date.now() < end) {
        const round = Array.from({ length: ROUND }, async () => {
          const { method, path } = random.pick(methods);
          const count = method.methodKind === "bidi_streaming" ? 1 + random.below(3) : 1;
          const sent = Array.from({ length: count }, () => requests.bytes(method.input));
          const answer = await send(path, method.methodKind, sent);
          const problem = complaint(answer);
          if (problem) {
            const hex = sent.map((bytes) => bytes.toString("hex")).join(" ");
            throw new Error(`seed ${seed}: ${path} with ${hex} answered ${problem}`);
          }
          for (const response of answer.responses) for (const text of textsIn(response)) requests.hear(text);
          const code = `${method.name} ${Status[answer.code]}`;
          codes.set(code, (codes.get(code) ?? 0) + 1);
        });
        await Promise.all(round);
        expect(brokenInvariants(await readState(client)), `seed ${seed}`).toEqual([]);
      }
      // It did reach the use cases, and the controller had nothing to complain of.
      const reached = [...codes.keys()].filter((code) => code.endsWith(" OK"));
      expect(reached.length, `methods that did something: ${reached.join(", ")}`).toBeGreaterThanOrEqual(10);
      expect(controller.log.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    },
    FUZZ_MS + 60_000,
  );

  it("refuses a message that is too large, and goes on", async () => {
    const path = "/slimfast.v1.ClusterService/CreateNetwork";
    const answer = await send(path, "unary", [Buffer.alloc(MAX_MESSAGE_BYTES + 1)]);
    expect(answer.code).toBe(Status.RESOURCE_EXHAUSTED);
    const field = Buffer.concat([Buffer.from([0x12, 0x80, 0x80, 0x80, 0x04]), Buffer.alloc(8 * 1024 * 1024, "x")]);
    expect((await send(path, "unary", [field])).code).toBe(Status.INVALID_ARGUMENT);
    expect((await client.cluster.listNetworks({})).networks).toEqual([]);
  });
});
