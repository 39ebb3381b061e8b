/** The session with the controller: the client of its services, logging in and out. The token is never kept here. */
import { connectController, SlimFastError } from "@slimfast/client/web";
import { WhoAmIResponse } from "@slimfast/proto";

const OURS = { "x-slimfast-console": "1" } as const;

/** Calls go to where the page came from, with the session's cookie. */
export const controller = connectController({ url: location.origin, metadata: OURS });

export async function logIn(token: string): Promise<void> {
  const response = await fetch("/session", {
    method: "POST",
    headers: { ...OURS, "content-type": "application/json" },
    body: JSON.stringify({ token: token.trim() }),
  });
  if (response.ok) return;
  const answer = (await response.json().catch(() => ({}))) as { error?: string };
  throw new Error(answer.error ?? `the controller answered ${response.status}`);
}

export async function logOut(): Promise<void> {
  await fetch("/session", { method: "DELETE", headers: OURS });
  location.assign("/");
}

/** Also gives the session a fresh id where that is due. */
export async function keepSession(): Promise<void> {
  await fetch("/session", { headers: OURS }).catch(() => undefined);
}

/** Null: nobody is logged in. */
export async function whoAmI(): Promise<WhoAmIResponse | null> {
  try {
    return WhoAmIResponse.fromPartial(await controller.access.whoAmI({}));
  } catch (error) {
    if (error instanceof SlimFastError && error.code === "unauthenticated") return null;
    throw error;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
