import { defineConfig } from "vitest/config";
import tests from "./vitest.config.js";

// Not tests of a suite, but run as they are: pictures for docs/console/, and figures of the console under load.
export default defineConfig({
  test: {
    ...tests.test,
    include: ["src/console/screenshots.ts", "src/console/load.ts"],
    testTimeout: 600_000,
    hookTimeout: 300_000,
  },
});
