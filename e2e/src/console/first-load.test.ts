/** What a browser has to load before a page works: measured on the files as they are built and sent. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";

const DIST = fileURLToPath(new URL("../../../apps/web-console/dist/", import.meta.url));
const LIMIT_BYTES = 250 * 1_024;

interface Chunk {
  readonly file: string;
  readonly isEntry?: boolean;
  readonly imports?: readonly string[];
  readonly dynamicImports?: readonly string[];
}

let manifest: Readonly<Record<string, Chunk>>;

beforeAll(() => {
  const path = `${DIST}.vite/manifest.json`;
  if (!existsSync(path)) throw new Error("the console is not built: run ./slimfast build");
  manifest = JSON.parse(readFileSync(path, "utf8"));
});

/** Files of script that these need, each once. */
function scriptsOf(names: readonly string[], found = new Set<string>()): Set<string> {
  for (const name of names) {
    const chunk = manifest[name];
    if (!chunk || found.has(chunk.file)) continue;
    found.add(chunk.file);
    scriptsOf(chunk.imports ?? [], found);
  }
  return found;
}

function compressedBytes(names: readonly string[]): number {
  const files = [...scriptsOf(names)].filter((file) => file.endsWith(".js"));
  return files.reduce((sum, file) => sum + gzipSync(readFileSync(`${DIST}${file}`), { level: 9 }).length, 0);
}

test("the first load of each page has at most 250 KiB of script, compressed", () => {
  const [entry, chunk] = Object.entries(manifest).find(([, { isEntry }]) => isEntry) ?? [];
  if (entry === undefined || !chunk) throw new Error("the manifest has no entry");
  const pages = chunk.dynamicImports ?? [];
  expect(pages.length).toBe(10);
  const sizes = Object.fromEntries(pages.map((page) => [page, compressedBytes([entry, page])]));
  console.info(
    Object.entries(sizes)
      .map(([page, size]) => `${page}: ${(size / 1_024).toFixed(0)} KiB`)
      .join("\n"),
  );
  for (const [page, size] of Object.entries(sizes)) expect(size, page).toBeLessThanOrEqual(LIMIT_BYTES);
});

test("nothing is loaded from elsewhere, and nothing is inline", () => {
  const page = readFileSync(`${DIST}index.html`, "utf8");
  expect(page).not.toMatch(/https?:\/\//);
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
  expect(page).not.toMatch(/<style|\sstyle=/);
});
