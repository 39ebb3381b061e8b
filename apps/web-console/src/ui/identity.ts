/** Who is logged in, and what that person may do. */
import { Role, type WhoAmIResponse } from "@slimfast/proto";
import { createContext, useContext } from "react";
import { refusalFor } from "../live/roles.js";

export const IdentityContext = createContext<WhoAmIResponse | null>(null);

const NOBODY = { role: Role.ROLE_UNSPECIFIED, networks: [] };

/** Why what needs `needed` may not be done; null if it may. See `refusalFor`. */
export function useRefusal(needed: Role, network?: string): string | null {
  return refusalFor(useContext(IdentityContext) ?? NOBODY, needed, network);
}

/** As `useRefusal`, for many networks. */
export function useRefusalIn(needed: Role): (network: string) => string | null {
  const who = useContext(IdentityContext) ?? NOBODY;
  return (network) => refusalFor(who, needed, network);
}
