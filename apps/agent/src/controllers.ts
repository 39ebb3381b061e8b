/**
 * The controllers that the agent may talk to: those that it was given, and those that they name. One client for all of
 * them; when the list changes the next call goes to a new one.
 *
 * Where there are several, one that has gone silent is given up within {@link FAILOVER_LIVENESS}: well below 2 s. A single
 * one gets more time, since there is nobody else to ask.
 */
import { type ConnectOptions, type ControllerClient, connectController } from "@slimfast/client";
import { isNetworkAddress } from "./identity/join-options.js";
import { FAILOVER_LIVENESS, FORMER_CLIENT_MS } from "./limits.js";

/** Everything but the addresses: how to connect. */
export type Connecting = Pick<ConnectOptions, "tls" | "token">;

/** What the agent asks of a controller. */
export type Controller = Pick<ControllerClient, "agent" | "listAllEndpoints">;

export class Controllers implements Controller {
  readonly #given: readonly string[];
  readonly #connecting: Connecting;
  readonly #former = new Map<ControllerClient, NodeJS.Timeout>();
  #addresses: readonly string[];
  #client: ControllerClient;

  /**
   * @param given - addresses, at least one
   * @throws SlimFastError `invalid_argument` if one is malformed
   */
  constructor(given: readonly string[], connecting: Connecting = {}) {
    this.#given = [...new Set(given)];
    this.#connecting = connecting;
    this.#addresses = this.#given;
    this.#client = this.#connect(this.#given);
  }

  get agent(): ControllerClient["agent"] {
    return this.#client.agent;
  }

  get listAllEndpoints(): ControllerClient["listAllEndpoints"] {
    return this.#client.listAllEndpoints;
  }

  /** For whoever calls it later: always of the client that there is then. */
  get renewing(): Pick<ControllerClient["agent"], "renewCertificate"> {
    return { renewCertificate: (...call) => this.#client.agent.renewCertificate(...call) };
  }

  /** For people. */
  get addresses(): string {
    return this.#addresses.join(", ");
  }

  /**
   * The controllers have named the lot of them. Those that were given stay, after them: they may be the only ones that
   * are left when all others have moved.
   *
   * @returns whether the list has changed: what runs goes on with the former client for a while, and should begin anew
   */
  learn(named: readonly string[]): boolean {
    // A socket of another machine is none here; without a certificate nothing else will have the node.
    const usable = named.filter((address) => isNetworkAddress(address) === (this.#connecting.tls !== undefined));
    const addresses = [...new Set([...this.#given, ...usable])];
    const isKnown =
      addresses.length === this.#addresses.length && addresses.every((one) => this.#addresses.includes(one));
    if (isKnown) return false;
    this.#replaceClient(addresses);
    return true;
  }

  /** There are new credentials: what runs goes on with the former client for a while, and should begin anew. */
  reconnect(): void {
    this.#replaceClient(this.#addresses);
  }

  #replaceClient(addresses: readonly string[]): void {
    const client = this.#connect(addresses);
    const former = this.#client;
    const close = () => {
      this.#former.delete(former);
      former.close();
    };
    this.#former.set(former, setTimeout(close, FORMER_CLIENT_MS).unref());
    this.#client = client;
    this.#addresses = addresses;
  }

  close(): void {
    for (const [client, timer] of this.#former) {
      clearTimeout(timer);
      client.close();
    }
    this.#client.close();
  }

  #connect(addresses: readonly string[]): ControllerClient {
    const liveness = addresses.length > 1 ? { liveness: FAILOVER_LIVENESS } : {};
    return connectController({ address: addresses, ...this.#connecting, ...liveness });
  }
}
