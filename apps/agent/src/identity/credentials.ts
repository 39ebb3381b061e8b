/**
 * A node's key and certificate, and the authorities that it trusts: what they say, and the one file that keeps them.
 *
 * One file, replaced by one rename, so that a crash never leaves a certificate with another's key. Mode 0600.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { SlimFastError } from "@slimfast/client";
import { messageOf } from "../errors.js";

/** All in PEM. */
export interface Credentials {
  readonly privateKey: string;
  readonly certificate: string;
  /** Of those who sign controllers and nodes. */
  readonly authorities: string;
}

/** What the certificate says. */
export interface CertificateFacts {
  readonly node: string;
  readonly fromMs: number;
  readonly expireTimeMs: number;
}

const BLOCK = /-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g;

/** @throws SlimFastError `failed_precondition` if they do not belong together. */
export function readFacts({ certificate, privateKey }: Credentials): CertificateFacts {
  try {
    const parsed = new X509Certificate(certificate);
    if (!parsed.checkPrivateKey(createPrivateKey(privateKey)))
      throw new Error("the key is not that of the certificate");
    return {
      node: /^CN=(.+)$/m.exec(parsed.subject)?.[1] ?? "",
      fromMs: Date.parse(parsed.validFrom),
      expireTimeMs: Date.parse(parsed.validTo),
    };
  } catch (cause) {
    throw new SlimFastError("failed_precondition", `the node's certificate cannot be used: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/**
 * Undefined if there is no such file.
 *
 * @throws SlimFastError `failed_precondition` if it is damaged.
 */
export async function readCredentials(path: string): Promise<Credentials | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  const blocks = [...text.matchAll(BLOCK)].map(([block, kind]) => ({ kind, block: `${block}\n` }));
  const privateKey = blocks.find(({ kind }) => kind === "PRIVATE KEY")?.block;
  const [certificate, ...authorities] = blocks.filter(({ kind }) => kind === "CERTIFICATE").map(({ block }) => block);
  if (privateKey === undefined || certificate === undefined || authorities.length === 0) {
    throw new SlimFastError(
      "failed_precondition",
      `${path} is damaged: remove it, revoke the node's certificates, and join again`,
    );
  }
  const credentials = { privateKey, certificate, authorities: authorities.join("") };
  readFacts(credentials);
  return credentials;
}

/** The directory of the file, for nobody else. */
export async function prepareDirectory(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
}

/** Atomic, and on disk when it returns. */
export async function writeCredentials(path: string, credentials: Credentials): Promise<void> {
  await prepareDirectory(path);
  const { privateKey, certificate, authorities } = credentials;
  const lines = [privateKey, certificate, authorities].map((pem) => `${pem.trim()}\n`);
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(lines.join(""));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
