/** An authority and certificates that it signs, made with openssl, for tests of TLS. */
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

export interface KeyPair {
  /** PEM: the certificate, and the authority's after it. */
  readonly chain: string;
  readonly key: string;
}

export class Authority {
  readonly #directory = mkdtempSync(join(tmpdir(), "slimfast-authority-"));
  readonly certificate: string;
  /** SHA-256 of the certificate in hex. */
  readonly fingerprint: string;
  #signed = 0;

  constructor() {
    openssl("req", "-x509", ...CURVE, "-subj", "/CN=test authority", "-days", "1", ...this.#out("ca"));
    this.certificate = readFileSync(this.#path("ca.pem"), "utf8");
    this.fingerprint = createHash("sha256").update(new X509Certificate(this.certificate).raw).digest("hex");
  }

  /** @param names as in the certificate's alternative names, for example `DNS:localhost,IP:127.0.0.1` */
  sign(subject: string, names: string): KeyPair {
    this.#signed += 1;
    const name = `signed-${this.#signed}`;
    writeFileSync(this.#path("extensions"), `subjectAltName=${names}\n`);
    openssl("req", ...CURVE, "-subj", `/CN=${subject}`, ...this.#out(name));
    openssl(
      ...["x509", "-req", "-in", this.#path(`${name}.pem`), "-days", "1", "-set_serial", String(this.#signed)],
      ...["-CA", this.#path("ca.pem"), "-CAkey", this.#path("ca.key")],
      ...["-extfile", this.#path("extensions"), "-out", this.#path(`${name}.crt`)],
    );
    return {
      chain: readFileSync(this.#path(`${name}.crt`), "utf8") + this.certificate,
      key: readFileSync(this.#path(`${name}.key`), "utf8"),
    };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #path(file: string): string {
    return join(this.#directory, file);
  }

  #out(name: string): string[] {
    return ["-keyout", this.#path(`${name}.key`), "-out", this.#path(`${name}.pem`)];
  }
}

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
