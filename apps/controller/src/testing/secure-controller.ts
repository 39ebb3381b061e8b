/** A controller with a unix socket and a TLS listener in this process, and callers of all kinds, for tests. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChannelCredentials } from "@grpc/grpc-js";
import * as x509 from "@peculiar/x509";
import * as proto from "@slimfast/proto";
import { type Channel, createChannel, createClientFactory, Metadata, Status } from "nice-grpc";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { type Controller, type ControllerOptions, startController } from "../controller.js";
import { Relay } from "./relay.js";

export interface Caller {
  readonly cluster: proto.ClusterServiceClient;
  readonly operations: proto.OperationsServiceClient;
  readonly access: proto.AccessServiceClient;
  readonly agent: proto.AgentServiceClient;
  readonly enrollment: proto.EnrollmentServiceClient;
}

export interface NodeKey {
  readonly request: Buffer;
  /** PEM */
  readonly privateKey: string;
}

export interface NodeIdentity {
  readonly certificate: string;
  readonly privateKey: string;
  readonly authorities: string;
}

const KEYS = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A key pair, and a request for its certificate. */
export async function newNodeKey(): Promise<NodeKey> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await webcrypto.subtle.generateKey(KEYS, true, ["sign", "verify"]);
  const made = await x509.Pkcs10CertificateRequestGenerator.create({ name: "CN=x", keys, signingAlgorithm: KEYS });
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { request: Buffer.from(made.rawData), privateKey: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
}

/** The gRPC status of a call that must fail. */
export async function statusOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<string> {
  try {
    if (Symbol.asyncIterator in call) for await (const _ of call);
    else await call;
  } catch (error) {
    if (error instanceof Error && "code" in error) return Status[error.code as number] ?? String(error.code);
    throw error;
  }
  return "OK";
}

export class SecureController {
  readonly directory: string;
  readonly #options: Partial<ControllerOptions>;
  readonly #channels: Channel[] = [];
  readonly #relays: Relay[] = [];
  #controller: Controller | undefined;

  private constructor(directory: string, options: Partial<ControllerOptions>) {
    this.directory = directory;
    this.#options = options;
  }

  static async start(options: Partial<ControllerOptions> = {}): Promise<SecureController> {
    const made = new SecureController(await mkdtemp(join(tmpdir(), "slimfast-security-test-")), options);
    try {
      await made.restart();
    } catch (error) {
      await made.remove();
      throw error;
    }
    return made;
  }

  /** Stops it if it runs; it keeps its state. */
  async restart(): Promise<void> {
    await this.stop();
    this.#controller = await startController({
      listen: [`unix:${this.directory}/controller.sock`, "127.0.0.1:0"],
      tls: {},
      stateDirectory: join(this.directory, "state"),
      ...this.#options,
    });
  }

  get controller(): Controller {
    if (!this.#controller) throw new Error("the controller does not run");
    return this.#controller;
  }

  /** HOST:PORT of the listener on TCP. */
  get address(): string {
    return this.controller.listening[1] ?? "";
  }

  /** On the unix socket. */
  local(token?: string): Caller {
    return this.#caller(
      this.controller.listen.replace(/^unix:/, "unix://"),
      ChannelCredentials.createInsecure(),
      token,
    );
  }

  /** In the clear. */
  plain(token?: string): Caller {
    return this.#caller(this.address, ChannelCredentials.createInsecure(), token);
  }

  /** Somebody who shows nothing, from an address of its own. */
  async strangerFrom(localAddress: string, ca: string): Promise<Caller> {
    const relay = await Relay.start(this.address, localAddress);
    this.#relays.push(relay);
    return this.#caller(relay.address, ChannelCredentials.createSsl(Buffer.from(ca)), undefined);
  }

  tls(options: { ca: string; token?: string; identity?: { certificate: string; privateKey: string } }): Caller {
    const { ca, token, identity } = options;
    const [root, key, chain] = [ca, identity?.privateKey, identity?.certificate].map((pem) =>
      pem === undefined ? null : Buffer.from(pem),
    );
    return this.#caller(this.address, ChannelCredentials.createSsl(root, key, chain), token);
  }

  async token(name: string, role: proto.Role, more: { networks?: string[]; lifetimeMs?: number; uses?: number } = {}) {
    const { networks = [], lifetimeMs, uses = 0 } = more;
    const { secret } = await this.local().access.createToken({
      token: { name, role, networks, usesLeft: uses },
      ...(lifetimeMs === undefined
        ? {}
        : { lifetime: { seconds: BigInt(Math.floor(lifetimeMs / 1_000)), nanos: (lifetimeMs % 1_000) * 1_000_000 } }),
    });
    return secret;
  }

  /** Joins a node over the unix socket. */
  async join(node: string): Promise<NodeIdentity> {
    const joinToken = await this.token(`join-${node}-${Date.now()}`, proto.Role.ROLE_JOIN, { uses: 1 });
    const { request, privateKey } = await newNodeKey();
    const issued = await this.local().enrollment.enrollNode({ node, joinToken, certificateRequest: request });
    return { ...issued, privateKey };
  }

  async audit(filter = ""): Promise<proto.AuditEntry[]> {
    return (await this.local().access.listAuditEntries({ pageSize: 1_000, filter })).entries;
  }

  async stop(): Promise<void> {
    for (const channel of this.#channels.splice(0)) channel.close();
    for (const relay of this.#relays.splice(0)) await relay.close();
    await this.#controller?.close();
    this.#controller = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  #caller(target: string, credentials: ChannelCredentials, token: string | undefined): Caller {
    const options = { "grpc.enable_http_proxy": 0, "grpc.use_local_subchannel_pool": 1 };
    const channel = createChannel(target, credentials, options);
    this.#channels.push(channel);
    const factory = createClientFactory().use(errorDetailsClientMiddleware);
    const metadata = token === undefined ? Metadata() : Metadata({ authorization: `Bearer ${token}` });
    const calls = { "*": { metadata } };
    return {
      cluster: factory.create(proto.ClusterServiceDefinition, channel, calls),
      operations: factory.create(proto.OperationsServiceDefinition, channel, calls),
      access: factory.create(proto.AccessServiceDefinition, channel, calls),
      agent: factory.create(proto.AgentServiceDefinition, channel, calls),
      enrollment: factory.create(proto.EnrollmentServiceDefinition, channel, calls),
    };
  }
}
