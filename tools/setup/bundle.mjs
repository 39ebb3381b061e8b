// bundle.mjs [PROGRAM...]: puts each program (apps/PROGRAM/dist/main.js, as tsc compiled it) and the packages that it uses
// into a few files, apps/PROGRAM/bundle. They start in half of the CPU time that hundreds of modules take, which every
// command and every restarted agent pays. What is left out has files of its own at run time: addons and .proto files.
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const PROGRAMS = ["agent", "cli", "controller"];
const EXTERNAL = [/^better-sqlite3$/, /^etcd3($|\/)/, /\.node$/];
/** Running programs import parts of the build that they were started from, under names that differ from build to build. */
const KEPT_MS = 30 * 24 * 3_600_000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

async function bundle(program) {
  const directory = join(ROOT, "apps", program, "bundle");
  const build = await rolldown({
    input: join(ROOT, "apps", program, "dist/main.js"),
    platform: "node",
    external: EXTERNAL,
    // Of packages that look for optional ones.
    logLevel: "silent",
  });
  await build.write({
    dir: directory,
    format: "esm",
    entryFileNames: "[name].js",
    // In the directory itself: what is relative to dist/ is relative to it.
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  for (const file of readdirSync(directory)) {
    const path = join(directory, file);
    if (Date.now() - statSync(path).mtimeMs > KEPT_MS) rmSync(path);
  }
}

const programs = process.argv.slice(2);
await Promise.all((programs.length > 0 ? programs : PROGRAMS).map(bundle));
