/**
 * The addon as it is: its raw shape, and loading it on first use. Nothing outside this package imports it. It is loaded
 * lazily so that programs that only need the types or the errors (tests, the CLI's help) run without a build.
 */
import { createRequire } from "node:module";
import { CoreError } from "./errors.js";
import type { Check, Core, CoreConfig, EndpointKey } from "./types.js";

/** The class that the addon exports: the methods of {@link Core}, with failures as JSON in the error's message. */
export type NativeNode = Omit<Core, "detachEndpoint"> & { detachEndpoints(keys: EndpointKey[]): Promise<void> };

/** What `slimfast.node` exports. */
export interface NativeModule {
  open(config: CoreConfig): Promise<NativeNode>;
  probe(): Promise<Check[]>;
  recover(runDir: string): Promise<void>;
}

/** By its name, not its place: the programs' bundles have this file among theirs. */
const ADDON_PATH = "@slimfast/core/slimfast.node";

let loaded: NativeModule | null = null;

/** Loads the addon, once. */
export function nativeModule(): NativeModule {
  loaded ??= loadNative(createRequire(import.meta.url));
  return loaded;
}

/** @param load - as Node's `require` */
export function loadNative(load: (path: string) => unknown): NativeModule {
  let exported: unknown;
  try {
    exported = load(ADDON_PATH);
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "MODULE_NOT_FOUND";
    const what = missing
      ? "the SlimFast addon (crates/slimfast-napi/slimfast.node) is not built"
      : `the SlimFast addon cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new CoreError("unsupported", `${what}: run ./slimfast build`, { cause });
  }
  if (!isNativeModule(exported)) {
    throw new CoreError("unsupported", "the SlimFast addon is of another version: run ./slimfast build");
  }
  return exported;
}

function isNativeModule(exported: unknown): exported is NativeModule {
  if (typeof exported !== "object" || exported === null) return false;
  const names: (keyof NativeModule)[] = ["open", "probe", "recover"];
  return names.every((name) => typeof (exported as Record<string, unknown>)[name] === "function");
}
