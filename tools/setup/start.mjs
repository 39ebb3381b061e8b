#!/usr/bin/env node
// The bundled program's start, written by tools/setup/bundle.mjs: with what V8 compiled when the bundle was made, unless this
// is another version of Node.js or other options hold; then V8 compiles once more.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";

const path = fileURLToPath(new URL("program-HASH.cjs", import.meta.url));
const compiled = `${path}.compiled`;
const text = readFileSync(path, "utf8");
const script = new Script(`(function (exports, require, module, __filename, __dirname, importForScript) {${text}\n})`, {
  filename: path,
  cachedData: existsSync(compiled) ? readFileSync(compiled) : undefined,
});
if (process.env.SLIMFAST_KEEP_COMPILED) {
  const { writeFileSync, renameSync } = await import("node:fs");
  process.on("exit", () => {
    writeFileSync(`${compiled}.new`, script.createCachedData());
    renameSync(`${compiled}.new`, compiled);
  });
}
const module = { exports: {} };
const importForScript = (specifier) => import(specifier);
script.runInThisContext()(module.exports, createRequire(path), module, path, dirname(path), importForScript);
await module.exports.ended;
