import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Nothing is inlined: the console's policy allows neither inline scripts and styles nor data: fonts. The manifest says
// which files each page needs (e2e/src/console/first-load.test.ts).
export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
    chunkSizeWarningLimit: 2_000,
  },
});
