import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const COMPRESS_FROM_BYTES = 1_024;

/** Compressed once, here: controllers would take seconds for it whenever they start. They read NAME.br and NAME.gz. */
function compressed(): Plugin {
  return {
    name: "compressed",
    // As they were written: vite changes chunks until then.
    writeBundle({ dir = "dist" }, bundle) {
      for (const fileName of Object.keys(bundle)) {
        const path = join(dir, fileName);
        const source = readFileSync(path);
        if (source.length < COMPRESS_FROM_BYTES) continue;
        writeFileSync(`${path}.br`, brotliCompressSync(source));
        writeFileSync(`${path}.gz`, gzipSync(source, { level: 9 }));
      }
    },
  };
}

// Nothing is inlined: the console's policy allows neither inline scripts and styles nor data: fonts. The manifest says
// which files each page needs (e2e/src/console/first-load.test.ts).
export default defineConfig({
  plugins: [react(), compressed()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
    chunkSizeWarningLimit: 2_000,
  },
});
