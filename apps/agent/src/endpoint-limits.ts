/** What each endpoint of the node may have, as the command line says it. */
import type { CoreConfig } from "@slimfast/core";
import { InvalidArgumentError } from "commander";

type WantedLimits = CoreConfig["endpointLimits"];

/** The core's own. */
export const UNSAID: WantedLimits = { sockets: null, listeners: null, connectsPerSecond: null };

const NAMES: Readonly<Record<string, keyof WantedLimits>> = {
  sockets: "sockets",
  listeners: "listeners",
  connects: "connectsPerSecond",
};
const MOST = 1_000_000_000;

/** `sockets=N,listeners=N,connects=N`, or some of these. */
export function parseEndpointLimits(text: string): WantedLimits {
  const limits = { ...UNSAID };
  for (const part of text.split(",")) {
    const [, word = "", digits = ""] = /^([a-z]+)=(\d{1,10})$/.exec(part) ?? [];
    const name = NAMES[word];
    const value = Number(digits);
    if (name === undefined || value < 1 || value > MOST || limits[name] !== null) {
      throw new InvalidArgumentError(
        `sockets=N,listeners=N,connects=N are wanted, or some of them, each from 1 to ${MOST}`,
      );
    }
    limits[name] = value;
  }
  return limits;
}
