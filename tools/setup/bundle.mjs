// bundle.mjs [PROGRAM...]: puts each program (apps/PROGRAM/dist/main.js, as tsc compiled it) and the packages that it uses
// into one file, apps/PROGRAM/bundle/program-HASH.cjs, and beside it what V8 compiles of it. main.js starts it, in a third of
// the CPU time that hundreds of modules take, which every command and every restarted agent pays. What is left out has
// files of its own at run time: addons and .proto files.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** With the arguments of a short run that loads what long ones do: what it has compiled is kept. */
const PROGRAMS = { agent: ["--help"], cli: ["node", "list"], controller: ["--help"] };
const EXTERNAL = [/^better-sqlite3$/, /^etcd3($|\/)/, /\.node$/];
/** Programs that are just starting may still read what the build before has made. */
const KEPT_MS = 3_600_000;
/** Calls, not methods of that name. */
const IMPORT = /(?<![.\w$])import\((?![^()]*\)\s*\{)/g;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START = readFileSync(new URL("start.mjs", import.meta.url), "utf8");

async function bundle(program) {
  const directory = join(ROOT, "apps", program, "bundle");
  const build = await rolldown({
    input: join(ROOT, "apps", program, "dist/main.js"),
    platform: "node",
    external: EXTERNAL,
    // Of packages that look for optional ones.
    logLevel: "silent",
  });
  // V8 gives out what it has compiled of CommonJS only. One file, and nothing to import later, when there may be a new build.
  const { output } = await build.generate({ format: "cjs", codeSplitting: false });
  await build.close();
  // Scripts may not import, where what was compiled before is used: main.js does it for them.
  const code = output[0].code.replace(/^#!.*/, "").replaceAll(IMPORT, "importForScript(");
  // V8 tells texts apart by their length only, so that names have to keep together what belongs together.
  const name = `program-${createHash("sha256").update(code).digest("hex").slice(0, 16)}`;
  mkdirSync(directory, { recursive: true });
  write(join(directory, `${name}.cjs`), code);
  const options = nodeOptions(program);
  const start = START.replaceAll("program-HASH", name);
  const hashBang = `#!/usr/bin/env -S node ${options.join(" ")}`;
  write(join(directory, "main.js"), options.length > 0 ? start.replace(/^#!.*/, hashBang) : start, 0o755);
  compile([...options, join(directory, "main.js"), ...PROGRAMS[program]]);
  for (const file of readdirSync(directory)) {
    const path = join(directory, file);
    if (file !== "main.js" && !file.startsWith(name) && Date.now() - statSync(path).mtimeMs > KEPT_MS) rmSync(path);
  }
}

/** What Node.js is to be started with: what V8 has compiled is good for the same options only. */
function nodeOptions(program) {
  const file = join(ROOT, "apps", program, "node-options.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
}

/** Never in place: somebody may be reading it. */
function write(path, text, mode = 0o644) {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}

/** The run has main.js write what V8 has compiled; what else becomes of it is of no interest. */
function compile(args) {
  try {
    const env = { ...process.env, SLIMFAST_KEEP_COMPILED: "1", SLIMFAST_RUN_DIR: "/nonexistent" };
    execFileSync(process.execPath, args, { env, stdio: "ignore" });
  } catch {
    // The command finds no cluster.
  }
}

const programs = process.argv.slice(2);
await Promise.all((programs.length > 0 ? programs : Object.keys(PROGRAMS)).map(bundle));
