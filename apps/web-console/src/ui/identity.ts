/** Who is logged in, and what that person may do. */
import { Role, type WhoAmIResponse } from "@slimfast/proto";
import { createContext, useContext } from "react";
import { refusalFor } from "../live/session.js";

export const IdentityContext = createContext<WhoAmIResponse | null>(null);

export function useRole(): Role {
  return useContext(IdentityContext)?.role ?? Role.ROLE_UNSPECIFIED;
}

/** Why what needs `needed` may not be done; null if it may. */
export function useRefusal(needed: Role): string | null {
  return refusalFor(useRole(), needed);
}
