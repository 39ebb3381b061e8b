import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./paths.js";
import { createProgram } from "./program.js";
import { REFERENCE_BEGIN, reference } from "./reference.js";

it("docs/cli.md has the reference of this grammar (node apps/cli/bundle/main.js reference docs/cli.md writes it)", () => {
  const text = readFileSync(join(ROOT, "docs/cli.md"), "utf8");
  expect(text.slice(text.indexOf(REFERENCE_BEGIN)).trimEnd()).toBe(reference(createProgram()));
});
