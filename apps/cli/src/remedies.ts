/** What a user can do about a failure that the controller or an agent reports. Decides by code and details alone. */
import { SlimFastError } from "@slimfast/client";
import { CliError } from "./exit-codes.js";

/** Null where the message says it all. */
export function remedyFor(error: unknown): string | null {
  if (error instanceof CliError) return error.remedy;
  if (!(error instanceof SlimFastError)) return null;
  const resource = error.resource;
  // What the server or the contract says is closer to the matter than what follows.
  if (error.remedy !== null) return error.remedy;
  switch (error.code) {
    case "not_found":
      return resource?.type === "network"
        ? "slimfast network list shows the networks, slimfast network create NAME --prefix CIDR makes one"
        : "slimfast status shows what there is";
    case "already_exists":
      return remedyForConflict(resource?.type);
    case "unimplemented":
      return "the controller is older than this command: upgrade it";
    case "unavailable":
    case "deadline_exceeded":
      return "slimfast status shows which part of the cluster does not answer";
    default:
      return null;
  }
}

/** The message names who is in the way. */
function remedyForConflict(type: string | undefined): string {
  switch (type) {
    // Found out by the controller and by the node itself.
    case "port":
    case "host":
      return "choose another port, or end what has it";
    case "network":
      return "choose another name, or delete the network first: slimfast network delete NAME";
    default:
      return "choose another name, or end what has it: slimfast status shows it";
  }
}
