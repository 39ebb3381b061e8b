import { expect, it } from "vitest";
import { REDACTED, redact } from "./redact.js";

const TOKEN = `sf_${"aB3-_".repeat(8)}abc`;
const KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----";

it.each([
  [`token ${TOKEN} used`, `token ${REDACTED} used`],
  [`--join-token ${TOKEN}.${"0a".repeat(32)}`, `--join-token ${REDACTED}`],
  [`{"key":"x","pem":"${KEY}"}`, `{"key":"x","pem":"${REDACTED}"}`],
  ["-----BEGIN EC PRIVATE KEY-----\nMIGH", REDACTED],
  ["authorization: Bearer abc.def", `authorization: Bearer ${REDACTED}`],
  ["http://127.0.0.1:1/login?token=abcdef&x=1", `http://127.0.0.1:1/login?token=${REDACTED}&x=1`],
  ['{"password":"hunter2","port":5}', `{"password":"${REDACTED}","port":5}`],
])("%j", (text, expected) => {
  expect(redact(text)).toBe(expected);
});

it("leaves alone what is no secret", () => {
  const text = '{"node":"node-1","revision":12,"certificate":"-----BEGIN CERTIFICATE-----"}';
  expect(redact(text)).toBe(text);
});
