/**
 * The servers that a client may use, as one gRPC channel. A call goes to the server in use; when that one fails, to the
 * next that accepts a connection. Owns the channels; knows nothing of calls.
 *
 * A call is sent only when there is a connection to send it on, as far as several servers are concerned: so even a call that
 * must not be repeated finds the server that is left.
 */
import { type Channel, createChannel } from "nice-grpc";
import type { ServerAddress } from "./address.js";
import { SlimFastError } from "./errors.js";
import { CONNECT_ATTEMPT_MS, MAX_MESSAGE_BYTES, RECONNECT_FIRST_MS, RECONNECT_LONGEST_MS } from "./limits.js";
import type { LivenessOptions } from "./options.js";
import { credentialsFor, type TlsSource, tlsChannelOptions } from "./tls.js";

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  "grpc.initial_reconnect_backoff_ms": RECONNECT_FIRST_MS,
  "grpc.max_reconnect_backoff_ms": RECONNECT_LONGEST_MS,
  // Despite its name: how long one attempt to connect may take.
  "grpc.min_reconnect_backoff_ms": CONNECT_ATTEMPT_MS,
  // Never through a web proxy that happens to be set in the environment.
  "grpc.enable_http_proxy": 0,
} as const;

/** gRPC's numbers for the states of a channel, which its types export for their names only. */
const READY = 2;
const TRANSIENT_FAILURE = 3;

interface Server {
  readonly address: ServerAddress;
  channel: Promise<Channel> | null;
  /** Set once `channel` has resolved. */
  opened: Channel | null;
}

export class Servers {
  readonly #servers: readonly [Server, ...Server[]];
  readonly #tls: TlsSource | undefined;
  readonly #liveness: LivenessOptions;
  #current: Server;
  #isClosed = false;

  constructor(
    addresses: readonly [ServerAddress, ...ServerAddress[]],
    tls: TlsSource | undefined,
    liveness: LivenessOptions,
  ) {
    this.#liveness = liveness;
    const [first, ...others] = addresses.map((address): Server => ({ address, channel: null, opened: null }));
    // biome-ignore lint/style/noNonNullAssertion: the tuple's type says so, which map does not keep
    this.#servers = [first!, ...others];
    this.#current = this.#servers[0];
    this.#tls = tls;
  }

  /** The address of the server in use. */
  get address(): string {
    return this.#current.address.text;
  }

  /** All of them, for messages about the lot. */
  get addresses(): string {
    return this.#servers.map(({ address }) => address.text).join(", ");
  }

  /**
   * Makes a server the one in use that has a connection, or if none has one within a moment, the present one: a call to
   * it fails and says why.
   */
  async prepare(): Promise<void> {
    const start = this.#servers.indexOf(this.#current);
    if (this.#servers.length === 1) {
      await this.#open(this.#current);
      return;
    }
    let reason: unknown;
    for (let offset = 0; offset < this.#servers.length; offset += 1) {
      const server = this.#servers[(start + offset) % this.#servers.length] ?? this.#current;
      try {
        const channel = await this.#open(server);
        if (await isConnected(channel, this.#liveness.connectMs)) {
          this.#current = server;
          return;
        }
      } catch (error) {
        reason = error;
      }
    }
    if (this.#current.opened === null) throw reason;
  }

  /** The server at `address` has failed a call: the next call goes to another one, if there is any. */
  giveUp(address: string): void {
    if (this.address !== address) return;
    const next = (this.#servers.indexOf(this.#current) + 1) % this.#servers.length;
    this.#current = this.#servers[next] ?? this.#current;
  }

  /** Resolves once a server accepts a connection. */
  async ready(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let cause: unknown;
    do {
      for (const server of this.#servers) {
        try {
          const share = Math.max(1, Math.min(deadline - Date.now(), this.#liveness.connectMs));
          const wait = this.#servers.length === 1 ? Math.max(1, deadline - Date.now()) : share;
          if (await isConnected(await this.#open(server), wait, this.#servers.length > 1)) {
            this.#current = server;
            return;
          }
        } catch (error) {
          cause = error;
          if (!(error instanceof SlimFastError && error.code === "unavailable")) throw error;
        }
        if (this.#isClosed) throw new SlimFastError("failed_precondition", "the client is closed");
      }
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_FIRST_MS));
    } while (Date.now() < deadline);
    throw new SlimFastError("unavailable", `${this.addresses} did not accept a connection within ${timeoutMs} ms`, {
      cause,
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const { opened } of this.#servers) opened?.close();
  }

  /** The channel that nice-grpc's clients are made with. `prepare` has to come before each call. */
  asChannel(): Channel {
    const opened = (): Channel => {
      const channel = this.#current.opened;
      if (!channel) throw new SlimFastError("internal", `no channel to ${this.address} was opened`);
      return channel;
    };
    const channel: Pick<Channel, keyof Channel> = {
      close: () => this.close(),
      getTarget: () => this.addresses,
      getConnectivityState: (tryToConnect) => opened().getConnectivityState(tryToConnect),
      watchConnectivityState: (state, deadline, callback) => opened().watchConnectivityState(state, deadline, callback),
      getChannelzRef: () => opened().getChannelzRef(),
      createCall: (...call) => opened().createCall(...call),
    };
    // gRPC's clients use these methods only; its type is that of its own class, which has a private field.
    return channel as Channel;
  }

  /** Once for each server; again after it failed. */
  #open(server: Server): Promise<Channel> {
    server.channel ??= (async () => {
      try {
        const credentials = await credentialsFor(server.address, this.#tls);
        const options = {
          ...CHANNEL_OPTIONS,
          "grpc.keepalive_time_ms": this.#liveness.intervalMs,
          "grpc.keepalive_timeout_ms": this.#liveness.timeoutMs,
          ...tlsChannelOptions(server.address, this.#tls),
        };
        server.opened = createChannel(server.address.target, credentials, options);
        if (this.#isClosed) server.opened.close();
        return server.opened;
      } catch (error) {
        server.channel = null;
        throw error;
      }
    })();
    return server.channel;
  }
}

/** Whether the channel has a connection now, or gets one in time. A failed attempt ends the wait unless `isPatient`. */
async function isConnected(channel: Channel, timeoutMs: number, isImpatient = true): Promise<boolean> {
  const deadline = new Date(Date.now() + timeoutMs);
  for (;;) {
    const state = channel.getConnectivityState(true);
    if (state === READY) return true;
    if (state === TRANSIENT_FAILURE && isImpatient) return false;
    const isInTime = await new Promise<boolean>((resolve) => {
      channel.watchConnectivityState(state, deadline, (error) => resolve(error === undefined));
    });
    if (!isInTime) return false;
  }
}
