// A gRPC server and its load, for slimfast bench: unary calls that echo 64 bytes, with grpc-js on both sides, since Debian has no
// load generator for gRPC.
//
//   node grpc-unary.mjs serve PORT
//   node grpc-unary.mjs load ADDRESS:PORT SECONDS CALLERS [per-call]
//
// Each of the CALLERS makes one call after the other, on a connection that all share, or, with `per-call`, on one of its
// own for each call. Prints one JSON object; every answer is checked.
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";

const PATH = "/bench.Echo/Call";
const same = (bytes) => bytes;
const REQUEST = Buffer.alloc(64, "r");

function serve(port) {
  const server = new Server();
  const call = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService({ call }, { call: ({ request }, answer) => answer(null, request) });
  server.bindAsync(`0.0.0.0:${port}`, ServerCredentials.createInsecure(), (error) => {
    if (error) fail(error.message);
  });
}

// A pool of its own keeps grpc-js from sharing a connection between clients.
function open(target) {
  return new Client(target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
}

function echo(client) {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(PATH, same, same, REQUEST, (error, answer) => {
      if (error) reject(error);
      else if (!answer || !REQUEST.equals(answer)) reject(new Error("the answer is not what was sent"));
      else resolve();
    });
  });
}

async function load(target, seconds, callers, perCall) {
  const shared = open(target);
  await echo(shared);
  const latenciesUs = [];
  const started = performance.now();
  const until = started + seconds * 1_000;
  const caller = async () => {
    do {
      const start = performance.now();
      const client = perCall ? open(target) : shared;
      await echo(client);
      latenciesUs.push((performance.now() - start) * 1_000);
      if (perCall) client.close();
    } while (performance.now() < until);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const elapsedSeconds = (performance.now() - started) / 1_000;
  shared.close();
  latenciesUs.sort((a, b) => a - b);
  const at = (share) => latenciesUs[Math.max(0, Math.ceil(share * latenciesUs.length) - 1)];
  const calls = latenciesUs.length;
  const times = { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) };
  console.log(JSON.stringify({ calls, elapsedSeconds, perSecond: calls / elapsedSeconds, ...times }));
}

function fail(message) {
  console.error(`grpc-unary: ${message}`);
  process.exit(1);
}

const [mode, ...args] = process.argv.slice(2);
if (mode === "serve" && args.length === 1) serve(Number(args[0]));
else if (mode === "load" && args.length >= 3) {
  load(args[0], Number(args[1]), Number(args[2]), args[3] === "per-call").catch((error) => fail(error.message));
} else fail("usage: serve PORT | load ADDRESS:PORT SECONDS CALLERS [per-call]");
