/** What roles may do. Pure. */
import { Role } from "@slimfast/proto";

/**
 * Why somebody may not do what needs the role `needed`; null if they may. `network`: where it would be done; not given: at
 * things that belong to no network.
 */
export function refusalFor(
  who: { readonly role: Role; readonly networks: readonly string[] },
  needed: Role,
  network?: string,
): string | null {
  const { role, networks } = who;
  if (role < needed || role > Role.ROLE_ADMIN) {
    return `it needs the role ${roleName(needed)}, and yours is ${roleName(role)}`;
  }
  if (networks.length === 0 || (network !== undefined && networks.includes(network))) return null;
  return `your token is for ${networks.length === 1 ? "the network" : "the networks"} ${networks.join(", ")} only`;
}

export function roleName(role: Role): string {
  return ["none", "viewer", "operator", "admin", "join"][role] ?? "unknown";
}
