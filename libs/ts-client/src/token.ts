/** API tokens: what may be one, and where one may be sent. */
import { SlimFastError } from "./errors.js";

/** @throws SlimFastError `invalid_argument`, without the token in its message. */
export function checkToken(token: string | undefined, clearAddress: string | undefined): void {
  if (token === undefined) return;
  if (!/^[\x21-\x7e]+$/.test(token)) throw refused("the token is empty, or has characters that no token has");
  if (clearAddress !== undefined) {
    throw refused(`the token would cross the network in the clear to ${clearAddress}: connect with TLS`);
  }
}

function refused(message: string): SlimFastError {
  return new SlimFastError("invalid_argument", message, {
    details: { fieldViolations: [{ field: "token", description: message }] },
  });
}
