/**
 * What the benchmark's agents read of a Sync response: the nonce, and the names of what it has in it. The rest is passed over, since
 * what thousands of agents on one machine decode is time that the controller lacks. Pure.
 */
import { AgentServiceDefinition } from "@slimfast/proto";

/** Fields of SyncResponse, of its resources, and of ResourceVersion; a test compares them with the generated code. */
const NONCE = 1;
const NODES = 3;
const NETWORKS = 4;
const ENDPOINTS = 5;
const REMOVED = 6;
const RESOURCE = { name: 1, networkOfEndpoint: 2 } as const;
const VERSION = { kind: 1, name: 2 } as const;

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

export interface Names {
  readonly nonce: bigint;
  readonly nodes: readonly string[];
  readonly networks: readonly string[];
  /** `NETWORK/NAME` */
  readonly endpoints: readonly string[];
  readonly removed: readonly { readonly kind: number; readonly name: string }[];
}

/** A message's fields one after the other; strings are ASCII, as all names are. */
class Fields {
  field = 0;
  #wireType = 0;
  #position: number;
  readonly #bytes: Uint8Array;
  readonly #end: number;

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#position = position;
    this.#end = end;
  }

  next(): boolean {
    if (this.#position >= this.#end) return false;
    const tag = this.varint();
    this.field = Math.floor(tag / 8);
    this.#wireType = tag % 8;
    return true;
  }

  /** Exact up to 2^53. */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#position] ?? 0;
      this.#position += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  message(): Fields {
    const length = this.varint();
    this.#position += length;
    return new Fields(this.#bytes, this.#position - length, this.#position);
  }

  text(): string {
    const end = this.varint() + this.#position;
    let text = "";
    for (; this.#position < end; this.#position += 1) text += String.fromCharCode(this.#bytes[this.#position] ?? 0);
    return text;
  }

  skip(): void {
    if (this.#wireType === VARINT) this.varint();
    else if (this.#wireType === BYTES) this.message();
    else if (this.#wireType === FIXED32) this.#position += 4;
    else if (this.#wireType === FIXED64) this.#position += 8;
    else throw new TypeError(`wire type ${this.#wireType} is not used`);
  }
}

function nameOf(resource: Fields): string {
  while (resource.next()) {
    if (resource.field === RESOURCE.name) return resource.text();
    resource.skip();
  }
  return "";
}

/** Fields are in the order of their numbers, as the controller's encoder writes them: the rest is not looked at. */
function endpointOf(endpoint: Fields): string {
  let name = "";
  while (endpoint.next()) {
    if (endpoint.field === RESOURCE.name) name = endpoint.text();
    else if (endpoint.field === RESOURCE.networkOfEndpoint) return `${endpoint.text()}/${name}`;
    else endpoint.skip();
  }
  return `/${name}`;
}

function versionOf(version: Fields): { kind: number; name: string } {
  let kind = 0;
  let name = "";
  while (version.next()) {
    if (version.field === VERSION.kind) kind = version.varint();
    else if (version.field === VERSION.name) name = version.text();
    else version.skip();
  }
  return { kind, name };
}

export function readNames(bytes: Uint8Array): Names {
  const nodes: string[] = [];
  const networks: string[] = [];
  const endpoints: string[] = [];
  const removed: { kind: number; name: string }[] = [];
  let nonce = 0n;
  const response = new Fields(bytes);
  while (response.next()) {
    if (response.field === NONCE) nonce = BigInt(response.varint());
    else if (response.field === NODES) nodes.push(nameOf(response.message()));
    else if (response.field === NETWORKS) networks.push(nameOf(response.message()));
    else if (response.field === ENDPOINTS) endpoints.push(endpointOf(response.message()));
    else if (response.field === REMOVED) removed.push(versionOf(response.message()));
    else response.skip();
  }
  return { nonce, nodes, networks, endpoints, removed };
}

const { sync } = AgentServiceDefinition.methods;

/** The agents' service, with responses of which only the names are read. */
export const NamesOnlyAgentServiceDefinition = {
  ...AgentServiceDefinition,
  methods: {
    ...AgentServiceDefinition.methods,
    sync: {
      ...sync,
      responseType: {
        encode: (): { finish(): Uint8Array } => {
          throw new TypeError("agents get responses, and make none");
        },
        decode: (bytes: Uint8Array): Names => readNames(bytes),
        fromPartial: (names: Names): Names => names,
      },
    },
  },
} as const;
