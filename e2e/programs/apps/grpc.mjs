// A gRPC service of lines of text, and its client: unary calls and streams in each direction, over one connection and
// over many.
//
//   grpc.mjs serve PORT
//   grpc.mjs call ADDRESS:PORT        prints the client as the server sees it, then "done"
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";

const LARGE = "g".repeat(1_000_000);

const method = (name, requestStream, responseStream) => ({
  path: `/lines.Lines/${name}`,
  requestStream,
  responseStream,
  requestSerialize: Buffer.from,
  requestDeserialize: String,
  responseSerialize: Buffer.from,
  responseDeserialize: String,
});
const LINES = {
  Echo: method("Echo", false, false),
  Peer: method("Peer", false, false),
  Count: method("Count", false, true),
  Sum: method("Sum", true, false),
  Talk: method("Talk", true, true),
};

const [mode, at] = process.argv.slice(2);

if (mode === "serve") {
  const server = new grpc.Server();
  server.addService(LINES, {
    Echo: (call, reply) => reply(null, call.request),
    Peer: (call, reply) => reply(null, call.getPeer()),
    Count(call) {
      for (let n = 0; n < Number(call.request); n += 1) call.write(String(n));
      call.end();
    },
    Sum(call, reply) {
      let sum = 0;
      call.on("data", (line) => {
        sum += Number(line);
      });
      call.on("end", () => reply(null, String(sum)));
    },
    Talk(call) {
      call.on("data", (line) => call.write(line));
      call.on("end", () => call.end());
    },
  });
  server.bindAsync(`[::]:${at}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
    console.log("ready");
  });
  process.on("SIGTERM", () => server.tryShutdown(() => process.exit(0)));
} else {
  const Client = grpc.makeGenericClientConstructor(LINES, "Lines");
  // A connection of its own for each: otherwise all clients of one target share one.
  const clients = Array.from(
    { length: 5 },
    () => new Client(at, grpc.credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
  );
  const unary = (client, name, request) =>
    new Promise((done, fail) => {
      const deadline = Date.now() + 30_000;
      client[name](request, { deadline }, (error, response) => (error ? fail(error) : done(response)));
    });
  const [first] = clients;
  console.log(await unary(first, "Peer", "?"));
  await Promise.all(clients.flatMap((client) => Array.from({ length: 20 }, (_, n) => unary(client, "Echo", `${n}`))));
  assert.equal(await unary(first, "Echo", LARGE), LARGE);
  let counted = 0;
  for await (const line of first.Count("500")) assert.equal(line, String(counted++));
  assert.equal(counted, 500);
  await new Promise((done, fail) => {
    const call = first.Sum((error, sum) => (error || sum !== "4950" ? fail(error ?? new Error(sum)) : done()));
    for (let n = 0; n < 100; n += 1) call.write(String(n));
    call.end();
  });
  const call = first.Talk();
  let answered = 0;
  call.write("0");
  for await (const line of call) {
    assert.equal(line, String(answered));
    answered += 1;
    if (answered < 100) call.write(String(answered));
    else call.end();
  }
  assert.equal(answered, 100);
  for (const client of clients) client.close();
  console.log("done");
}
