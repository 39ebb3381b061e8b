/**
 * Why a cluster did not start: the machine is looked at only then, since a look takes longer than a start that succeeds
 * should.
 */
import { type Check, probe } from "@slimfast/core";
import { CliError } from "../exit-codes.js";

/** The same failure with what the machine lacks as its remedy, if it lacks anything and nothing better is known. */
export async function withMissingFeatures(error: unknown): Promise<unknown> {
  if (!(error instanceof CliError) || error.code !== "failed" || error.remedy !== null) return error;
  // The addon itself may be what is broken; the failure says so then.
  const checks = await probe().catch(() => []);
  const remedy = remedyOf(checks);
  return remedy === null ? error : new CliError("failed", error.message, { remedy, cause: error });
}

/** Null if nothing that is required is missing. The first failure is the cause of later ones more often than not. */
export function remedyOf(checks: readonly Check[]): string | null {
  const [first, ...others] = checks.filter((check) => check.required && !check.ok);
  if (!first) return null;
  const remedy = first.remedy === null ? "" : `: ${first.remedy}`;
  const more = others.length === 0 ? "" : ` (${others.length} more)`;
  return `this machine lacks what SlimFast needs: ${first.name}: ${first.detail}${remedy}\nslimfast doctor shows all that is missing${more}`;
}
