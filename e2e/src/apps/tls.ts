/** TLS: openssl's own server and client, with many full handshakes, and curl to an nginx that ends TLS. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { makeCertificate, SERVER_NAME } from "./certificate.js";
import { nginx } from "./nginx.js";
import type { App } from "./stage.js";

const SIZE = 4 * 1024 * 1024;

export const TLS: App = {
  name: "TLS by openssl and nginx",
  async play({ server, client, directory }) {
    const { certificate, key } = makeCertificate(directory);
    const serve = ["openssl", "s_server", "-accept", "4433", "-cert", certificate, "-key", key, "-www"];
    await server.start(serve, { prints: /ACCEPT/ });
    const at = `${server.host}:4433`;
    const verified = ["-CAfile", certificate, "-verify_return_error", "-verify_hostname", SERVER_NAME];
    const connect = ["openssl", "s_client", "-connect", at, ...verified, "-ign_eof", "-quiet"];
    expect(await client.output(connect, "GET / HTTP/1.0\r\n\r\n")).toContain("HTTP/1.0 200 ok");
    const handshakes = await client.output(["openssl", "s_time", "-connect", at, "-new", "-time", "1", "-www", "/"]);
    expect(handshakes).toMatch(/^[1-9]\d* connections in /m);

    writeFileSync(join(directory, "large"), Buffer.alloc(SIZE, "slimfast"));
    const http = `ssl_certificate ${certificate}; ssl_certificate_key ${key};
      server { listen 443 ssl http2; listen [::]:443 ssl http2; root ${directory}; }`;
    await server.start(nginx(directory, "tls", http), { port: 443 });
    const options = ["-sS", "-f", "--cacert", certificate, "--resolve", `${SERVER_NAME}:443:${server.host}`];
    for (const version of ["--http1.1", "--http2"]) {
      const sizes = ["-o", "/dev/null", "-w", "%{size_download}", version, `https://${SERVER_NAME}/large`];
      expect(await client.output(["curl", ...options, ...sizes])).toBe(String(SIZE));
    }
  },
};
