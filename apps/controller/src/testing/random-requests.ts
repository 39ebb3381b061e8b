/** Requests of any method, made of its description: some plausible, some nonsense, some not even protobuf. */
import { create, type DescField, type DescMessage, ScalarType, toBinary } from "@bufbuild/protobuf";
import type { Random } from "./random.js";

const NAMES = ["blue", "red", "green", "node-1", "node-2", "node-3", "web", "db", "x"];

/** Texts that mean something in some field. */
const TEXTS = [
  ...NAMES,
  ...NAMES,
  "",
  "10.32.0.0/28",
  "10.32.0.0/16",
  "10.0.0.1/8",
  "10.200.0.1",
  "10.200.0.2",
  "10.32.0.5",
  "fd00:32::/120",
  "FD00:32::/64",
  "fd00::1/64",
  "fe80::/64",
  "::ffff:10.32.0.5",
  "fd00:32::5",
  "::/0",
  "255.255.255.255",
  "blue/web",
  "*",
  "labels",
  "labels.app",
  "description",
  "ports",
  "state",
  "name = web",
  "labels.app : w AND NOT (id > 3 OR name = x*)",
  "((((",
  "\u0000",
  "ä🙂\ud800".normalize(),
  "__proto__",
  "x".repeat(300),
];

const NUMBERS = [0, 1, 2, 3, 5, 17, 24, 30, 80, 1_000, 7_100, 7_110, 8_080, 65_535, 65_536, 2 ** 24, 2 ** 31 - 1];

/** What a caller who knows the API would write, by the name of the field; null: nothing. */
const PLAUSIBLE: Readonly<Record<string, readonly unknown[]>> = {
  name: ["web", "db", "x", "blue", "node-1"],
  network: ["blue", "blue", "red"],
  node: ["node-1", "node-2"],
  endpoint: ["", "web"],
  prefix: ["10.32.0.0/28", "10.32.0.0/24", ""],
  prefix6: ["", "fd00:32::/124", "fd00:32::/64"],
  address: ["", "", "", "10.32.0.5"],
  address6: ["", "", "", "fd00:32::5"],
  underlay_address: ["10.200.0.1", "10.200.0.2", "10.200.0.3"],
  description: ["", "ä🙂"],
  filter: ["", "name = w*", "labels:app OR revision > 5"],
  page_token: [""],
  page_size: [0, 1, 5],
  etag: [""],
  request_id: ["", "", "again"],
  update_mask: [null],
  labels: [{}, { app: "web" }],
  vni: [0, 0, 7],
  id: [0],
  state: [1, 2],
  action: [1, 2],
  node_subnet_length: [0, 0, 30],
  node_subnet6_length: [0, 0, 126],
  first: [0, 80, 443, 7_100, 8_080],
  count: [1, 2, 16],
  seconds: [1n, 60n],
  nanos: [0],
  host_port: [80, 8_080],
  endpoint_port: [80],
  protocol_version: [0, 2],
  kinds: [[], [1, 3]],
  revision: [0n],
};

export class RandomRequests {
  readonly #random: Random;
  /** Etags, page tokens and the like from answers, to be given back. */
  readonly #heard: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  hear(text: string): void {
    if (text === "") return;
    if (this.#heard.length < 50) this.#heard.push(text);
    else this.#heard[this.#random.below(50)] = text;
  }

  #text(): string {
    if (this.#heard.length > 0 && this.#random.below(6) === 0) return this.#random.pick(this.#heard);
    return this.#random.pick(TEXTS);
  }

  #scalar(type: ScalarType): unknown {
    switch (type) {
      case ScalarType.STRING:
        return this.#text();
      case ScalarType.BOOL:
        return this.#random.below(2) === 1;
      case ScalarType.BYTES:
        return Uint8Array.from({ length: this.#random.below(40) }, () => this.#random.below(256));
      case ScalarType.INT64:
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
      case ScalarType.SFIXED64:
      case ScalarType.SINT64:
        return BigInt(this.#random.pick(NUMBERS));
      default:
        return this.#random.pick(NUMBERS);
    }
  }

  #single(field: DescField, depth: number, isPlausible: boolean): unknown {
    if (field.enum) return this.#random.below(field.enum.values.length + 1);
    if (field.message) return this.#message(field.message, depth + 1, isPlausible);
    return this.#scalar(field.scalar ?? ScalarType.STRING);
  }

  #value(field: DescField, depth: number, isPlausible: boolean): unknown {
    if (field.fieldKind === "list") {
      return Array.from({ length: this.#random.below(3) }, () => this.#single(field, depth, isPlausible));
    }
    if (field.fieldKind === "map") {
      const length = this.#random.below(3);
      return Object.fromEntries(
        Array.from({ length }, () => [this.#scalar(field.mapKey), this.#single(field, depth, isPlausible)]),
      );
    }
    return this.#single(field, depth, isPlausible);
  }

  #message(type: DescMessage, depth: number, isPlausible: boolean): Record<string, unknown> {
    const init: Record<string, unknown> = {};
    for (const field of type.fields) {
      const plausible = PLAUSIBLE[field.name];
      const isText = field.fieldKind !== "message" || field.name === "update_mask";
      if (isPlausible && isText && plausible && this.#random.below(30) > 0) {
        const value = this.#random.pick(plausible);
        if (value !== null) init[field.localName] = value;
        continue;
      }
      if (depth > 5 || this.#random.below(isPlausible ? 20 : 4) === 0) continue;
      if (field.oneof)
        init[field.oneof.localName] = { case: field.localName, value: this.#value(field, depth, isPlausible) };
      else init[field.localName] = this.#value(field, depth, isPlausible);
    }
    return init;
  }

  /** The bytes of a request. */
  bytes(type: DescMessage): Buffer {
    const isPlausible = this.#random.below(4) > 0;
    const bytes = Buffer.from(toBinary(type, create(type, this.#message(type, 0, isPlausible))));
    return this.#random.below(6) === 0 ? this.#mutated(bytes) : bytes;
  }

  #mutated(bytes: Buffer): Buffer {
    const at = this.#random.below(bytes.length + 1);
    switch (this.#random.below(4)) {
      case 0:
        return bytes.subarray(0, at);
      case 1:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from([this.#random.below(256)]), bytes.subarray(at)]);
      case 2:
        return Buffer.concat([bytes, bytes.subarray(at)]);
      default: {
        const changed = Buffer.from(bytes);
        if (at < changed.length) changed[at] = this.#random.below(256);
        return changed;
      }
    }
  }
}
