import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Nothing is inlined: the console's policy allows neither inline scripts and styles nor data: fonts.
export default defineConfig({
  plugins: [react()],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 2_000 },
});
