/** The other controllers as the store knows them: one channel to each, for as long as it is a member. */
import { isIP } from "node:net";
import type { ChannelCredentials } from "@grpc/grpc-js";
import { OperationsServiceDefinition } from "@slimfast/proto";
import { type Channel, createChannel, createClient } from "nice-grpc";
import { MAX_MESSAGE_BYTES } from "../limits.js";
import { parseHostPort } from "../listen.js";
import type { ControllerMember } from "../store/kinds.js";
import type { Store } from "../store/store.js";
import type { Peer, Peers } from "./peers.js";

/** No certificate has it (RFC 2606). */
const NO_NAME = "slimfast.invalid";

interface OpenPeer extends Peer {
  readonly address: string;
  readonly channel: Channel;
}

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // Never through a web proxy that happens to be set in the environment.
  "grpc.enable_http_proxy": 0,
} as const;

function isUnix(address: string): boolean {
  return address.startsWith("unix:");
}

/** Over the network rather than over a socket of what may be another machine. */
function addressOf({ addresses }: ControllerMember): string | undefined {
  return addresses.find((address) => !isUnix(address)) ?? addresses[0];
}

export class StorePeers implements Peers {
  readonly #store: Store;
  readonly #credentials: (host: string) => ChannelCredentials | undefined;
  readonly #open = new Map<string, OpenPeer>();
  readonly #stopListening: () => void;

  /** @param credentials For a host, where the address is no unix socket; undefined: without TLS. */
  constructor(store: Store, credentials: (host: string) => ChannelCredentials | undefined = () => undefined) {
    this.#store = store;
    this.#credentials = credentials;
    this.#stopListening = store.onCommit(({ changes }) => {
      if (changes.some(({ kind }) => kind === "controller")) this.#update();
    });
    this.#update();
  }

  list(): readonly Peer[] {
    return [...this.#open.values()];
  }

  #update(): void {
    const members = new Map(this.#store.list("controller", { limit: -1 }).map((member) => [member.id, member]));
    members.delete(this.#store.controllerId);
    for (const [id, { channel, address }] of this.#open) {
      const member = members.get(id);
      if (member && addressOf(member) === address) continue;
      channel.close();
      this.#open.delete(id);
    }
    for (const [id, member] of members) {
      const address = addressOf(member);
      if (this.#open.has(id) || address === undefined) continue;
      const channel = this.#connect(address);
      const operations = createClient(OperationsServiceDefinition, channel);
      this.#open.set(id, { name: id, address, channel, operations });
    }
  }

  #connect(address: string): Channel {
    if (isUnix(address)) {
      return createChannel(address.replace(/^unix:(?!\/\/)/, "unix://"), undefined, CHANNEL_OPTIONS);
    }
    const host = parseHostPort(address).host.replace(/^\[|\]$/g, "");
    // In the handshake only: an address is no server name (RFC 6066). Whose certificate it is, the credentials check.
    const naming = isIP(host) === 0 ? {} : { "grpc.ssl_target_name_override": NO_NAME };
    return createChannel(address, this.#credentials(host), { ...CHANNEL_OPTIONS, ...naming });
  }

  close(): void {
    this.#stopListening();
    for (const { channel } of this.#open.values()) channel.close();
    this.#open.clear();
  }
}
