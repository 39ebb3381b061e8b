/** TLS and tokens against a real server with real certificates. */
import { ServerCredentials } from "@grpc/grpc-js";
import { ServerError, Status } from "nice-grpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type ConnectOptions,
  type ControllerClient,
  connectController,
  SlimFastError,
  type TlsOptions,
} from "./index.js";
import { Authority, type KeyPair } from "./testing/certificates.js";
import { type Answers, TestServer } from "./testing/server.js";

let authority: Authority;
let stranger: Authority;
let serverPair: KeyPair;
let clientPair: KeyPair;
let server: TestServer;
const clients: ControllerClient[] = [];

beforeAll(() => {
  authority = new Authority();
  stranger = new Authority();
  serverPair = authority.sign("controller", "DNS:controller.example,IP:127.0.0.1");
  clientPair = authority.sign("node-1", "DNS:node-1");
});

afterAll(() => {
  authority?.remove();
  stranger?.remove();
});

beforeEach(() => {
  server = new TestServer();
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  server.remove();
});

function connect(options: ConnectOptions): ControllerClient {
  const client = connectController({ retry: { maxAttempts: 1 }, ...options });
  clients.push(client);
  return client;
}

/** Answers with the token that came. */
const WHO_AM_I: Answers = {
  access: { whoAmI: async (_request, { metadata }) => ({ actor: metadata.get("authorization") ?? "nobody" }) },
};

function start(options: { readonly clientCertificates: boolean }): Promise<string> {
  const credentials = ServerCredentials.createSsl(
    Buffer.from(authority.certificate),
    [{ cert_chain: Buffer.from(serverPair.chain), private_key: Buffer.from(serverPair.key) }],
    options.clientCertificates,
  );
  return server.start(WHO_AM_I, { host: "127.0.0.1", credentials });
}

async function failure(call: Promise<unknown>): Promise<SlimFastError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SlimFastError)) throw new Error(`not a SlimFastError: ${error}`, { cause: error });
  return error;
}

function refusal(options: ConnectOptions): SlimFastError {
  try {
    connect(options);
  } catch (error) {
    if (error instanceof SlimFastError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("a server's certificate", () => {
  it("is verified against the given authority", async () => {
    const address = await start({ clientCertificates: false });
    expect(await connect({ address, tls: { ca: authority.certificate } }).access.whoAmI({})).toMatchObject({
      actor: "nobody",
    });
    const distrustful = connect({ address, tls: { ca: stranger.certificate } });
    expect((await failure(distrustful.access.whoAmI({}))).code).toBe("unavailable");
    // Against those of the system, where this one is unknown.
    expect((await failure(connect({ address, tls: {} }).access.whoAmI({}))).code).toBe("unavailable");
  });

  it("is verified against the authority of the given fingerprint", async () => {
    const address = await start({ clientCertificates: false });
    const colons = authority.fingerprint.toUpperCase().replace(/(..)(?=.)/g, "$1:");
    for (const fingerprint of [authority.fingerprint, colons]) {
      expect(await connect({ address, tls: { fingerprint } }).access.whoAmI({})).toMatchObject({ actor: "nobody" });
    }
    const wrong = connect({ address, tls: { fingerprint: stranger.fingerprint } });
    expect(await failure(wrong.access.whoAmI({}))).toMatchObject({ code: "unauthenticated" });
    expect(await failure(wrong.ready(1_000))).toMatchObject({ code: "unauthenticated" });
  });

  it("must name the host, or the name that is asked for", async () => {
    const address = (await start({ clientCertificates: false })).replace("127.0.0.1", "localhost");
    const tls = { ca: authority.certificate };
    expect((await failure(connect({ address, tls }).access.whoAmI({}))).code).toBe("unavailable");
    const named = connect({ address, tls: { ...tls, serverName: "controller.example" } });
    expect(await named.access.whoAmI({})).toMatchObject({ actor: "nobody" });
  });
});

describe("a client's certificate", () => {
  it("is shown where the server asks for it", async () => {
    const address = await start({ clientCertificates: true });
    const tls = { ca: authority.certificate };
    expect((await failure(connect({ address, tls }).access.whoAmI({}))).code).toBe("unavailable");
    const known = connect({ address, tls: { ...tls, cert: clientPair.chain, key: clientPair.key } });
    expect(await known.access.whoAmI({})).toMatchObject({ actor: "nobody" });
    // The look at the chain must not need one.
    const enrolling = connect({
      address,
      tls: { fingerprint: authority.fingerprint, cert: clientPair.chain, key: clientPair.key },
    });
    expect(await enrolling.access.whoAmI({})).toMatchObject({ actor: "nobody" });
  });
});

describe("a token", () => {
  it("goes with every call, over TLS and to this machine", async () => {
    const address = await start({ clientCertificates: false });
    const client = connect({ address, token: "sf_secret", tls: { ca: authority.certificate } });
    expect(await client.access.whoAmI({})).toMatchObject({ actor: "Bearer sf_secret" });
    const local = new TestServer();
    await local.start(WHO_AM_I);
    expect(await connect({ address: local.address, token: "sf_secret" }).access.whoAmI({})).toMatchObject({
      actor: "Bearer sf_secret",
    });
    local.remove();
  });

  it("does not cross a network in the clear", () => {
    const error = refusal({ address: ["127.0.0.1:1", "10.0.0.1:7000"], token: "sf_secret" });
    expect(error.message).toContain("10.0.0.1:7000");
    expect(error.message).not.toContain("sf_secret");
    expect(error.details.fieldViolations).toMatchObject([{ field: "token" }]);
  });
});

describe("options", () => {
  it.each([
    [{ token: "a b" }, "token"],
    [{ token: "" }, "token"],
    [{ tls: { cert: "x" } }, "tls.key"],
    [{ tls: { key: "x" } }, "tls.cert"],
    [{ tls: { ca: "no PEM" } }, "tls.ca"],
    [{ tls: { fingerprint: "abc" } }, "tls.fingerprint"],
    [{ address: [] }, "address"],
  ])("%j are refused: %s", (options, field) => {
    const error = refusal({ address: "127.0.0.1:1", ...options });
    expect(error.code).toBe("invalid_argument");
    expect(error.details.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });

  it("of a key that is not the certificate's fail with the first call", async () => {
    const address = await start({ clientCertificates: true });
    const tls = { ca: authority.certificate, cert: clientPair.chain, key: serverPair.key };
    expect((await failure(connect({ address, tls }).access.whoAmI({}))).code).toBe("invalid_argument");
  });
});

describe("several addresses", () => {
  it("are tried in turn, and left when they fail", async () => {
    const second = new TestServer();
    const answer = (actor: string) => ({ access: { whoAmI: async () => ({ actor }) } });
    await server.start(answer("first"));
    await second.start(answer("second"));
    const retry = { maxAttempts: 100, initialBackoffMs: 1, maxBackoffMs: 20 };
    const client = connect({ address: ["127.0.0.1:1", server.address, second.address], retry });
    await client.ready(5_000);
    expect((await client.access.whoAmI({})).actor).toBe("first");
    server.stop();
    expect((await client.access.whoAmI({})).actor).toBe("second");
    second.stop();
    await server.start(answer("first again"));
    expect((await client.access.whoAmI({})).actor).toBe("first again");
    second.remove();
  });

  it("carry calls that must not be repeated to the server that is left", async () => {
    const second = new TestServer();
    await second.start({ cluster: { deleteNode: async () => ({}) } });
    const client = connect({ address: [server.address, second.address] });
    await client.cluster.deleteNode({ name: "node-1" });
    second.remove();
  });

  it("are left when one answers that it cannot serve", async () => {
    const second = new TestServer();
    await server.start({
      access: {
        whoAmI: async () => {
          throw new ServerError(Status.UNAVAILABLE, "no quorum");
        },
      },
    });
    await second.start({ access: { whoAmI: async () => ({ actor: "second" }) } });
    const client = connect({
      address: [server.address, second.address],
      retry: { maxAttempts: 2, initialBackoffMs: 1 },
    });
    expect((await client.access.whoAmI({})).actor).toBe("second");
    second.remove();
  });

  it("that all fail are unavailable, with the reason", async () => {
    const client = connect({ address: ["127.0.0.1:1", "127.0.0.1:2"] });
    expect(await failure(client.access.whoAmI({}))).toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/^127\.0\.0\.1:\d is unavailable: connect ECONNREFUSED/),
    });
    const error = await failure(client.ready(50));
    expect(error.message).toContain("127.0.0.1:1, 127.0.0.1:2");
  });
});

describe("certificates that are renewed while the client is open", () => {
  it("are used by the next connection", async () => {
    const address = await start({ clientCertificates: true });
    let tls: TlsOptions = { ca: stranger.certificate };
    const client = connect({ address, tls: () => tls });
    expect((await failure(client.access.whoAmI({}))).code).toBe("unavailable");
    tls = { ca: authority.certificate, cert: clientPair.chain, key: clientPair.key };
    await client.ready(10_000);
    expect(await client.access.whoAmI({})).toMatchObject({ actor: "nobody" });
  });
});
