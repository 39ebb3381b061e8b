/** The API's own description at run time: the message types by name, for what works on any of them. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  createFileRegistry,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

let registry: FileRegistry | undefined;

/** The FileDescriptorSet of libs/proto, serialised. */
export function descriptorSet(): Uint8Array {
  return readFileSync(createRequire(import.meta.url).resolve("@slimfast/proto/descriptors.binpb"));
}

function types(): FileRegistry {
  registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet()));
  return registry;
}

/** @param name Without the package, for example `Endpoint`. */
export function messageType(name: string): DescMessage {
  const found = types().getMessage(`slimfast.v1.${name}`);
  if (!found) throw new Error(`the API has no message ${name}`);
  return found;
}

/** @param fullName With the package. */
export function serviceType(fullName: string): DescService {
  const found = types().getService(fullName);
  if (!found) throw new Error(`the API has no service ${fullName}`);
  return found;
}
