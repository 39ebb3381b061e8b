/** On which port of 127.0.0.1 the console is served: the same one every time, unless somebody else has it. */
import { createServer } from "node:net";

export const DEFAULT_CONSOLE_PORT = 7080;

export async function freeConsolePort(wanted: number = DEFAULT_CONSOLE_PORT): Promise<number> {
  return (await tryPort(wanted)) ?? (await tryPort(0)) ?? wanted;
}

/** The port if it is free; for 0, any free one. */
function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host: "127.0.0.1", port }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : undefined));
    });
  });
}
