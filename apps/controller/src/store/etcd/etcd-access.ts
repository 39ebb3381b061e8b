/** How the controller reaches etcd, and as whom: TLS by files, user and password. Reads the files once, at the start. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { StartupError } from "../../errors.js";
import { isLoopback, parseHostPort } from "../../listen.js";

/** As on the command line; all of them are optional. */
export interface EtcdAccessOptions {
  /** Authorities of etcd's certificates, in PEM. With it the connection is encrypted. */
  readonly caFile?: string | undefined;
  /** The controller's certificate for etcd, in PEM, and its key. */
  readonly certificateFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
}

export interface EtcdAccess {
  /** In PEM. Without it nothing is encrypted. */
  readonly tls?: { readonly ca: Buffer; readonly certificate?: Buffer; readonly privateKey?: Buffer };
  readonly login?: { readonly user: string; readonly password: string };
}

/**
 * @param hosts HOST:PORT each.
 * @throws StartupError `state_unusable` if the options contradict each other, or a file cannot be used.
 */
export function readEtcdAccess(options: EtcdAccessOptions, hosts: readonly string[]): EtcdAccess {
  const { caFile, certificateFile, keyFile, user, passwordFile } = options;
  together("--etcd-cert", certificateFile, "--etcd-key", keyFile);
  together("--etcd-user", user, "--etcd-password-file", passwordFile);
  if (certificateFile !== undefined && caFile === undefined) {
    throw refused("--etcd-cert needs --etcd-ca: without it the connection to etcd is not encrypted");
  }
  const exposed = hosts.find((host) => !isLoopback(parseHostPort(host).host));
  if (user !== undefined && caFile === undefined && exposed !== undefined) {
    throw refused(`the password would cross the network to ${exposed} in the clear: add --etcd-ca`);
  }
  return {
    ...(caFile === undefined
      ? {}
      : { tls: { ca: readCertificate("--etcd-ca", caFile), ...readPair(certificateFile, keyFile) } }),
    ...(user === undefined || passwordFile === undefined
      ? {}
      : { login: { user, password: readPassword(passwordFile) } }),
  };
}

export function isEmptyAccess(options: EtcdAccessOptions): boolean {
  return Object.values(options).every((value) => value === undefined);
}

function together(one: string, first: unknown, other: string, second: unknown): void {
  if ((first === undefined) !== (second === undefined)) {
    throw refused(`${one} and ${other} belong together: one of them is missing`);
  }
}

function readPair(certificateFile: string | undefined, keyFile: string | undefined) {
  if (certificateFile === undefined || keyFile === undefined) return {};
  const certificate = readCertificate("--etcd-cert", certificateFile);
  const privateKey = read("--etcd-key", keyFile);
  try {
    if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey)))
      return { certificate, privateKey };
  } catch (error) {
    throw refused(`--etcd-key ${keyFile} is no private key in PEM`, error);
  }
  throw refused(`--etcd-key ${keyFile} is not the key of --etcd-cert ${certificateFile}`);
}

function readCertificate(option: string, path: string): Buffer {
  const pem = read(option, path);
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw refused(`${option} ${path} is no certificate in PEM`, error);
  }
  return pem;
}

function readPassword(path: string): string {
  const password = read("--etcd-password-file", path)
    .toString("utf8")
    .replace(/\r?\n$/, "");
  if (password === "") throw refused(`--etcd-password-file ${path} is empty`);
  return password;
}

function read(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw refused(`${option} cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

function refused(message: string, cause?: unknown): StartupError {
  return new StartupError("state_unusable", message, cause);
}
