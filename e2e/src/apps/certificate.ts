/** A certificate for `server.test`, its own authority. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export const SERVER_NAME = "server.test";

export function makeCertificate(directory: string): { readonly certificate: string; readonly key: string } {
  const certificate = join(directory, "certificate.pem");
  const key = join(directory, "key.pem");
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const subject = ["-subj", `/CN=${SERVER_NAME}`, "-addext", `subjectAltName=DNS:${SERVER_NAME}`];
  execFileSync("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", certificate], {
    stdio: "pipe",
  });
  return { certificate, key };
}
