/** A channel with the middleware of this package on it: what the connect functions have in common. */
import { setMaxListeners } from "node:events";
import { type Channel, type ClientFactory, createChannel, createClientFactory, waitForChannelReady } from "nice-grpc";
import { type DeadlineOptions, deadlineMiddleware } from "nice-grpc-client-middleware-deadline";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { channelTarget } from "./address.js";
import { SlimFastError } from "./errors.js";
import { closeMiddleware, defaultDeadlineMiddleware, errorMiddleware, retryMiddleware } from "./middleware.js";
import { type ConnectOptions, DEFAULT_RETRY, DEFAULT_TIMEOUT_MS } from "./options.js";

/** Options of a single call besides nice-grpc's own (`signal`, `metadata`, `onHeader`, `onTrailer`). */
export type CallDeadline = DeadlineOptions;

/** Messages up to this size are accepted; gRPC's default of 4 MiB is less than a full page of large endpoints. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // The servers are near: gRPC's pauses of up to two minutes before it connects again are made for the internet.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // Despite its name: how long one attempt to connect may take. A busy machine takes its time for a handshake.
  "grpc.min_reconnect_backoff_ms": 5_000,
  // Never through a web proxy that happens to be set in the environment.
  "grpc.enable_http_proxy": 0,
} as const;

export class Connection {
  readonly #address: string;
  readonly #channel: Channel;
  readonly #closed = new AbortController();
  readonly factory: ClientFactory<CallDeadline>;

  constructor(options: ConnectOptions) {
    // One listener for each call that runs, and any number of calls may.
    setMaxListeners(0, this.#closed.signal);
    this.#address = options.address;
    this.#channel = createChannel(channelTarget(options.address), undefined, CHANNEL_OPTIONS);
    // What is attached first is invoked last.
    this.factory = createClientFactory()
      .use(errorDetailsClientMiddleware)
      .use(retryMiddleware({ ...DEFAULT_RETRY, ...options.retry }))
      .use(deadlineMiddleware)
      .use(defaultDeadlineMiddleware(options.timeoutMs ?? DEFAULT_TIMEOUT_MS))
      .use(closeMiddleware(this.#closed.signal))
      .use(errorMiddleware(options.address));
  }

  get channel(): Channel {
    return this.#channel;
  }

  async ready(timeoutMs: number): Promise<void> {
    try {
      await waitForChannelReady(this.#channel, new Date(Date.now() + timeoutMs));
    } catch (cause) {
      throw new SlimFastError("unavailable", `${this.#address} did not accept a connection within ${timeoutMs} ms`, {
        cause,
      });
    }
  }

  close(): void {
    this.#closed.abort();
    this.#channel.close();
  }
}
