import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Whole clusters on this machine: needs root and a complete build. One file at a time, because the files measure and
// count things that belong to the machine.
export default defineConfig({
  test: {
    include: ["src/**/*.test.ts"],
    globalSetup: [fileURLToPath(new URL("src/fixture/programs.ts", import.meta.url))],
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Long, because it is reached only when a test fails.
    expect: { poll: { timeout: 30_000, interval: 50 } },
  },
});
