import "reflect-metadata";
import { X509Certificate as NodeCertificate, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { ClusterError } from "../errors.js";
import { CLOCK_SKEW_MS } from "./limits.js";
import {
  createAuthority,
  fingerprintOf,
  issueControllerCertificate,
  issueNodeCertificate,
  readCertificate,
  readCertificateRequest,
} from "./x509.js";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2030, 0, 1);

async function requestFor(curve = "P-256"): Promise<Uint8Array> {
  const algorithm = { name: "ECDSA", namedCurve: curve, hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=somebody-else",
    keys: keys,
    signingAlgorithm: algorithm,
  });
  return new Uint8Array(request.rawData);
}

async function failure(promise: Promise<unknown>): Promise<ClusterError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ClusterError)) throw new Error(`should have been refused, not ${error}`);
  return error;
}

describe("certificates", () => {
  it("of nodes have the name that the controller gives, whatever the request says", async () => {
    const authority = await createAuthority(NOW_MS);
    const request = await readCertificateRequest(await requestFor());
    const issued = await issueNodeCertificate(authority, "node-1", request, { nowMs: NOW_MS, lifetimeMs: HOUR_MS });
    const certificate = new NodeCertificate(issued.certificate);
    expect(certificate.verify(new NodeCertificate(authority.certificate).publicKey)).toBe(true);
    expect(certificate.checkIssued(new NodeCertificate(authority.certificate))).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(new Date(certificate.validFrom).getTime()).toBe(NOW_MS - CLOCK_SKEW_MS);
    expect(readCertificate(certificate.raw)).toEqual({
      holder: "node",
      name: "node-1",
      serial: issued.serial,
      expireTimeMs: NOW_MS + HOUR_MS,
    });
    expect(certificate.serialNumber.toLowerCase()).toBe(issued.serial);
  });

  it("of controllers carry host names and addresses", async () => {
    const authority = await createAuthority(NOW_MS);
    const names = ["localhost", "10.1.2.3", "::1", "controller.example"];
    const made = await issueControllerCertificate(
      authority,
      { id: "c1", names },
      { nowMs: NOW_MS, lifetimeMs: HOUR_MS },
    );
    const certificate = new NodeCertificate(made.certificate);
    expect(certificate.checkHost("controller.example")).toBe("controller.example");
    expect(certificate.checkIP("10.1.2.3")).toBe("10.1.2.3");
    expect(certificate.checkHost("other.example")).toBeUndefined();
    expect(readCertificate(certificate.raw)).toMatchObject({ holder: "controller", name: "c1" });
  });

  it("never outlive their authority", async () => {
    const authority = await createAuthority(NOW_MS, HOUR_MS);
    const request = await readCertificateRequest(await requestFor("P-384"));
    const issued = await issueNodeCertificate(authority, "node-1", request, { nowMs: NOW_MS, lifetimeMs: 9 * HOUR_MS });
    expect(issued.expireTimeMs).toBe(NOW_MS + HOUR_MS);
  });

  it("of strangers are none of ours", async () => {
    const authority = await createAuthority(NOW_MS);
    expect(readCertificate(new NodeCertificate(authority.certificate).raw)).toBeUndefined();
    expect(fingerprintOf(authority.certificate)).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("a certificate request is refused", () => {
  it("when it is empty, too large or something else", async () => {
    for (const bytes of [new Uint8Array(), new Uint8Array(10_000), new Uint8Array([0x30, 0x03, 1, 2, 3])]) {
      const error = await failure(readCertificateRequest(bytes));
      expect(error.code).toBe("invalid_argument");
      expect(error.details.fields?.[0]?.field).toBe("certificate_request");
    }
  });

  it("when its signature was made with another key", async () => {
    const bytes = await requestFor();
    bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
    expect((await failure(readCertificateRequest(bytes))).message).toMatch(/not signed with the key|PKCS/);
  });

  it("when each single byte of it is changed, or it is cut short, without an exception of another kind", async () => {
    const bytes = await requestFor();
    for (let index = 0; index < bytes.length; index += 7) {
      const changed = Uint8Array.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 0x41;
      const result = await readCertificateRequest(changed).catch((error: unknown) => error);
      if (result instanceof Error) expect(result).toBeInstanceOf(ClusterError);
      await failure(readCertificateRequest(bytes.subarray(0, index)));
    }
  });

  it("when its key is RSA", async () => {
    const algorithm = {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      publicExponent: new Uint8Array([1, 0, 1]),
      modulusLength: 2048,
    };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      keys: keys,
      signingAlgorithm: algorithm,
    });
    expect((await failure(readCertificateRequest(new Uint8Array(request.rawData)))).message).toMatch(/P-256/);
  });
});
