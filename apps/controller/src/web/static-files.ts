/**
 * The built console, read whole when the server starts: a few hundred kilobytes, compressed by the build (NAME.br, NAME.gz). A
 * request is a look-up in a map, so no path of a request ever reaches the file system.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";

export interface StaticFile {
  readonly contentType: string;
  readonly cacheControl: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly gzip: Buffer | undefined;
  readonly brotli: Buffer | undefined;
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".map": "application/json; charset=utf-8",
};
/** Names in this folder carry a hash of their content. */
const HASHED = "/assets/";

/** Files by path, "/index.html" among them; empty if the folder does not exist or has no index. */
export function readStaticFiles(folder: string): ReadonlyMap<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return files;
  }
  for (const name of names) {
    const contentType = CONTENT_TYPES[extname(name)];
    if (contentType === undefined) continue;
    const path = `/${relative(folder, name).split(sep).join("/")}`;
    files.set(path, staticFile(path, contentType, name));
  }
  return files.has("/index.html") ? files : new Map();
}

function staticFile(path: string, contentType: string, name: string): StaticFile {
  const plain = readFileSync(name);
  const compressed = (ending: string) => (existsSync(name + ending) ? readFileSync(name + ending) : undefined);
  return {
    contentType,
    cacheControl: path.startsWith(HASHED) ? "public, max-age=31536000, immutable" : "no-cache",
    etag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`,
    plain,
    gzip: compressed(".gz"),
    brotli: compressed(".br"),
  };
}

/** The form of the file that the client takes. */
export function encodingFor(file: StaticFile, acceptEncoding: string): { body: Buffer; encoding: string | undefined } {
  const accepts = (name: string): boolean =>
    new RegExp(`(^|[ ,])${name}(?! *; *q=0(\\.0*)?( *,|$))`).test(acceptEncoding);
  if (file.brotli && accepts("br")) return { body: file.brotli, encoding: "br" };
  if (file.gzip && accepts("gzip")) return { body: file.gzip, encoding: "gzip" };
  return { body: file.plain, encoding: undefined };
}
