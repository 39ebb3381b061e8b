/** A profile as somebody gives it: `linux.seccomp` alone, or a bundle's whole config.json. */
import { CliError } from "../exit-codes.js";
import { BASE_PROFILE } from "./base-profile.js";
import { mergeProfile, type SeccompProfile } from "./profile.js";

/** What the runtime has to tell the agent. */
export interface Listener {
  /** The agent's socket, from its status. */
  readonly path: string;
  /** Of an endpoint that is attached. */
  readonly metadata: string;
}

/**
 * `text` with our rules, in the form in which it came; without a text, our own base profile with them.
 *
 * @param source where the text is from, for messages
 */
export function mergeGiven(text: string | undefined, source: string, { path, metadata }: Listener): object {
  if (text === undefined) return mergeProfile(BASE_PROFILE, path, metadata);
  const given = parse(text, source);
  const { linux } = given;
  if (!isObject(linux)) return merge(given, source, { path, metadata });
  const seccomp = linux["seccomp"] ?? BASE_PROFILE;
  if (!isObject(seccomp)) throw wrong(source, "linux.seccomp is no object");
  return { ...given, linux: { ...linux, seccomp: merge(seccomp, `${source}: linux.seccomp`, { path, metadata }) } };
}

function merge(given: Given, source: string, { path, metadata }: Listener): SeccompProfile {
  if ("archMap" in given) {
    const what = "this is an engine's own file, whose conditions only the engine can resolve";
    throw wrong(source, what, "give the config.json that the engine makes for the runtime");
  }
  const { defaultAction, syscalls = [], listenerPath } = given;
  if (typeof defaultAction !== "string") throw wrong(source, "it has no defaultAction");
  if (!Array.isArray(syscalls) || !syscalls.every(isRule)) throw wrong(source, "syscalls are no list of rules");
  if (listenerPath !== undefined && listenerPath !== path) {
    throw wrong(source, `it has a listener already, ${String(listenerPath)}: a process can have only one`);
  }
  return mergeProfile({ ...given, defaultAction, syscalls } as SeccompProfile, path, metadata);
}

type Given = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Given {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isRule(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { names, action, args = [] } = value;
  const isName = (name: unknown) => typeof name === "string";
  return (
    Array.isArray(names) && names.every(isName) && typeof action === "string" && (args === null || Array.isArray(args))
  );
}

function parse(text: string, source: string): Given {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong(source, "it is not JSON");
  }
  if (!isObject(value)) throw wrong(source, "it is no JSON object");
  return value;
}

const REMEDY = "give linux.seccomp of the OCI runtime specification, or a bundle's config.json";

function wrong(source: string, what: string, remedy: string = REMEDY): CliError {
  return new CliError("failed", `${source} is no seccomp profile: ${what}`, { remedy });
}
