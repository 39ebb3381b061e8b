import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// Unit tests of every TypeScript project. Whole-system tests have their own configuration, in e2e/.
export default defineConfig({
  test: {
    // Without the project's folder: the patterns are relative to --dir, which the nx targets give.
    include: ["**/src/**/*.test.{ts,tsx}", "**/ts/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**", "**/e2e/**"],
    testTimeout: 30_000,
    // Packages in CommonJS are imported as Node.js does it, which runs the same code outside of tests.
    deps: { interopDefault: false },
    hookTimeout: 30_000,
    // What a file imports (gRPC, the generated code) is kept for the next one of the same worker: loading it took longer than
    // most files' tests.
    isolate: false,
    // vitest's own choice leaves one CPU idle, half of a small machine; most of these tests wait more than they compute.
    maxWorkers: availableParallelism(),
  },
});
