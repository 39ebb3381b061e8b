/** The exit codes of the command and the error class that carries them. Owns no output. */

/** Stable: scripts rely on them. `slimfast run` ends with its command's own code instead of 0. */
export const EXIT = {
  ok: 0,
  /** The command was understood and failed. */
  failed: 1,
  /** Unknown command or option, malformed value. */
  usage: 2,
  /** No cluster is up on this machine. */
  notUp: 3,
  /** A cluster is up already, or being started or stopped by another process. */
  busy: 4,
  /** `slimfast run` itself failed, before or beside the command. */
  runFailed: 125,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;

export type CliErrorCode = keyof typeof EXIT;

/** A failure that is shown to the user: what happened, and what to do about it. Never with a stack trace. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: CliErrorCode;
  /** What the user can do; null where there is nothing to say. */
  readonly remedy: string | null;

  constructor(code: CliErrorCode, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy ?? null;
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
