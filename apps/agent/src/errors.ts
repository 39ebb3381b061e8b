/**
 * The agent's failures, without regard to the transport: {@link SlimFastError} of the client library, so that what the
 * controller said reaches the caller of the agent unchanged. How the core's failures fit in is decided here.
 */
import { type ErrorCode, SlimFastError } from "@slimfast/client";
import { CoreError, type CoreErrorKind } from "@slimfast/core";

const CODE_OF_KIND: Readonly<Record<CoreErrorKind, ErrorCode>> = {
  invalid: "invalid_argument",
  unsupported: "failed_precondition",
  conflict: "already_exists",
  not_found: "not_found",
  system: "internal",
  closed: "unavailable",
};

export function invalidArgument(field: string, description: string): SlimFastError {
  return new SlimFastError("invalid_argument", `${field}: ${description}`, {
    details: { fieldViolations: [{ field, description }] },
  });
}

export function unavailable(message: string, cause?: unknown): SlimFastError {
  return new SlimFastError("unavailable", message, { cause });
}

/** What a caller of the agent is told about any failure. */
export function toSlimFastError(thrown: unknown): SlimFastError {
  if (thrown instanceof SlimFastError) return thrown;
  if (thrown instanceof CoreError) return fromCore(thrown);
  if (thrown instanceof Error && thrown.name === "AbortError") {
    return new SlimFastError("cancelled", "the call was cancelled", { cause: thrown });
  }
  return new SlimFastError("internal", messageOf(thrown), { cause: thrown });
}

function fromCore(error: CoreError): SlimFastError {
  const details =
    error.field !== null
      ? { fieldViolations: [{ field: error.field, description: error.message }] }
      : error.holder !== null
        ? { resources: [{ type: "host", name: "", owner: error.holder, description: error.message }] }
        : {};
  return new SlimFastError(CODE_OF_KIND[error.kind], error.message, { details, cause: error });
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
