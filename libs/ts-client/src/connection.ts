/** Servers with the middleware of this package around their calls: what the connect functions for Node.js have in common. */
import { type Channel, type ClientFactory, createClientFactory } from "nice-grpc";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { isLocal, parseAddresses } from "./address.js";
import { DEFAULT_LIVENESS } from "./limits.js";
import { Closing, surroundings } from "./middleware.js";
import type { ConnectOptions } from "./options.js";
import { Servers } from "./servers.js";
import { checkTlsOptions, currentTls } from "./tls.js";
import { checkToken } from "./token.js";
import { tracingMiddleware } from "./tracing.js";

/** Options of a single call besides nice-grpc's own (`signal`, `metadata`, `onHeader`, `onTrailer`). */
export type CallDeadline = DeadlineOptions;

export class Connection {
  readonly #servers: Servers;
  readonly #closing = new Closing();
  readonly factory: ClientFactory<CallDeadline>;
  readonly channel: Channel;

  /** @throws SlimFastError `invalid_argument` */
  constructor(options: ConnectOptions) {
    const addresses = parseAddresses(options.address);
    if (options.tls) checkTlsOptions(currentTls(options.tls));
    checkToken(options.token, options.tls ? undefined : addresses.find((address) => !isLocal(address))?.text);
    this.#servers = new Servers(addresses, options.tls, options.liveness ?? DEFAULT_LIVENESS);
    this.channel = this.#servers.asChannel();
    this.factory = createClientFactory()
      .use(surroundings(options, this.#servers, this.#closing))
      .use(tracingMiddleware);
  }

  ready(timeoutMs: number): Promise<void> {
    return this.#servers.ready(timeoutMs);
  }

  close(): void {
    this.#closing.close();
    this.#servers.close();
  }
}
