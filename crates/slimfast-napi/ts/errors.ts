/**
 * The one error class of the core, and how a failure gets out of the addon. Expected failures cross the boundary as an
 * Error whose message is a JSON object; they become a {@link CoreError} here and nowhere else. Whatever is not in that
 * form is a bug of ours and passes through unchanged, so that it is not mistaken for something the user can mend.
 */
import type { CoreErrorKind } from "./types.js";

const KINDS: ReadonlySet<string> = new Set<CoreErrorKind>([
  "invalid",
  "unsupported",
  "conflict",
  "not_found",
  "system",
  "closed",
]);

/** Codes that napi-rs gives to an argument of the wrong JavaScript type. */
const NAPI_ARGUMENT_CODES: ReadonlySet<string> = new Set([
  "InvalidArg",
  "ObjectExpected",
  "StringExpected",
  "NameExpected",
  "FunctionExpected",
  "NumberExpected",
  "BooleanExpected",
  "ArrayExpected",
  "BigintExpected",
  "DateExpected",
]);

/** What a {@link CoreError} carries beside its message. Absent means `null`. */
export interface CoreErrorFields {
  field?: string | null;
  holder?: string | null;
  syscall?: string | null;
  errno?: number | null;
  cause?: unknown;
}

/** A failure of the core. The message says what happened and, where it can be known, what to do about it. */
export class CoreError extends Error {
  override readonly name = "CoreError";
  readonly kind: CoreErrorKind;
  /** For "invalid": the field of the input, in the Rust core's spelling. */
  readonly field: string | null;
  /** For "conflict": who holds what was asked for, for example `nginx (pid 4711)`. */
  readonly holder: string | null;
  /** For "system": the call that failed. */
  readonly syscall: string | null;
  /** For "system": the positive error number. */
  readonly errno: number | null;

  constructor(kind: CoreErrorKind, message: string, fields: CoreErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.kind = kind;
    this.field = fields.field ?? null;
    this.holder = fields.holder ?? null;
    this.syscall = fields.syscall ?? null;
    this.errno = fields.errno ?? null;
  }
}

/** Turns what the addon threw into what callers see. */
export function fromNative(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof CoreError) return thrown;
  const wire = parseWireError(thrown.message);
  if (wire !== null) return new CoreError(wire.kind, wire.message, { ...wire, cause: thrown });
  const code = "code" in thrown ? thrown.code : undefined;
  if (typeof code === "string" && NAPI_ARGUMENT_CODES.has(code)) {
    return new CoreError("invalid", thrown.message, { cause: thrown });
  }
  return thrown;
}

interface WireError {
  kind: CoreErrorKind;
  message: string;
  field: string | null;
  holder: string | null;
  syscall: string | null;
  errno: number | null;
}

function parseWireError(text: string): WireError | null {
  if (!text.startsWith("{")) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof parsed !== "object" || parsed === null) return null;
  const { kind, message, field, holder, syscall, errno } = parsed as Record<string, unknown>;
  if (typeof kind !== "string" || !KINDS.has(kind) || typeof message !== "string") return null;
  return {
    kind: kind as CoreErrorKind,
    message,
    field: stringOrNull(field),
    holder: stringOrNull(holder),
    syscall: stringOrNull(syscall),
    errno: typeof errno === "number" ? errno : null,
  };
}

function stringOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
