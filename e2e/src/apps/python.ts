/** Python: socketserver with threads and with processes, asyncio, TLS; many connections at a time. */
import { expect } from "vitest";
import { makeCertificate } from "./certificate.js";
import { appProgram } from "./programs.js";
import type { App } from "./stage.js";

const PORT = "8000";

export const PYTHON: App = {
  name: "Python asyncio and socketserver",
  async play({ server, client, directory }) {
    const { certificate, key } = makeCertificate(directory);
    const serve = [...appProgram("servers.py"), "serve", PORT, certificate, key];
    await server.start(serve, { prints: /ready/ });
    const talk = [...appProgram("servers.py"), "talk", server.address, PORT, certificate];
    expect(await client.output(talk)).toBe("done\n");
  },
};
