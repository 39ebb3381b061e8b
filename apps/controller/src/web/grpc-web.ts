/**
 * The framing of gRPC-Web (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): a byte of flags, four of
 * length, the message; the trailers are the last frame. Binary form only. Pure: no I/O.
 */
import type { Metadata, Status } from "nice-grpc";

export const GRPC_WEB_CONTENT_TYPE = "application/grpc-web+proto";

const HEADER_BYTES = 5;
const TRAILER_FLAG = 0x80;

export function frame(flags: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(flags, 0);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

export function messageFrame(message: Uint8Array): Buffer {
  return frame(0, message);
}

export function trailerFrame(code: Status, message: string, trailer: Metadata): Buffer {
  const lines = [`grpc-status: ${code}`];
  if (message !== "") lines.push(`grpc-message: ${encodeURIComponent(message)}`);
  for (const [key, values] of trailer) {
    for (const value of values) {
      lines.push(`${key}: ${typeof value === "string" ? value : Buffer.from(value).toString("base64")}`);
    }
  }
  return frame(TRAILER_FLAG, Buffer.from(`${lines.join("\r\n")}\r\n`, "latin1"));
}

/** The one message of a request's body; undefined if the body is anything else. */
export function readSingleMessage(body: Buffer): Buffer | undefined {
  if (body.length < HEADER_BYTES || body.readUInt8(0) !== 0) return undefined;
  return body.readUInt32BE(1) === body.length - HEADER_BYTES ? body.subarray(HEADER_BYTES) : undefined;
}
