/** `--publish HOST:PORT`. */
import { CliError } from "../exit-codes.js";

export interface PublishedPort {
  readonly hostPort: number;
  readonly endpointPort: number;
}

/** @throws CliError `usage` */
export function parsePublishedPort(text: string): PublishedPort {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  const hostPort = Number(match?.[1]);
  const endpointPort = Number(match?.[2]);
  const isPort = (port: number) => port >= 1 && port <= 65_535;
  if (!match || !isPort(hostPort) || !isPort(endpointPort)) {
    throw new CliError("usage", `--publish ${text}: must be HOST:PORT with ports from 1 to 65535, for example 8080:80`);
  }
  return { hostPort, endpointPort };
}
