/** Load on an HTTP server by wrk. */
import { expect } from "vitest";
import type { Box } from "./box.js";

export interface LoadOptions {
  readonly connections: number;
  /** A connection for each request. */
  readonly isShort?: boolean;
}

/** A second of load: every request is answered with 2xx, and no socket operation fails. */
export async function expectLoad(client: Box, url: string, { connections, isShort }: LoadOptions): Promise<void> {
  const header = isShort ? ["-H", "Connection: close"] : [];
  const report = await client.output(["wrk", "-t1", `-c${connections}`, "-d1s", "--timeout", "10s", ...header, url]);
  expect(report).toMatch(/^ +[1-9]\d* requests in /m);
  expect(report).not.toMatch(/Socket errors|Non-2xx/);
}
