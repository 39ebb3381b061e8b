/**
 * The packages as their users have them: packed, unpacked into a project of its own beside nothing but what they declare, compiled
 * by both resolutions of modules that TypeScript has for them, and run.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PACKAGES = { "@slimfast/client": join(ROOT, "libs/ts-client"), "@slimfast/proto": join(ROOT, "libs/proto") };
const TSC = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const TIMEOUT_MS = 180_000;

/** Uses what the README shows, and a type of each kind. */
const PROGRAM = `
import { connectController, SlimFastError, type ControllerClient } from "@slimfast/client";
import { connectController as connectInBrowser } from "@slimfast/client/web";
import type { Endpoint } from "@slimfast/proto";

async function names(controller: ControllerClient, signal: AbortSignal): Promise<string[]> {
  const found: Endpoint[] = [];
  for await (const endpoint of controller.listAllEndpoints({ filter: 'labels.app = "web"', signal })) found.push(endpoint);
  return found.map(({ name }) => name);
}

// @ts-expect-error a filter is a text
void (() => connectController({ address: "unix:/x" }).listAllEndpoints({ filter: 7 }));
console.log(typeof connectInBrowser);
const controller = connectController({ address: "unix:/nowhere/controller.sock", timeoutMs: 60_000 });
try {
  await names(controller, AbortSignal.timeout(5_000));
} catch (error) {
  console.log(error instanceof SlimFastError ? error.code : error);
}
controller.close();
`;

let project: string;

function pack(name: string, folder: string): void {
  const target = join(project, "node_modules", name);
  mkdirSync(target, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", project];
  const output = execFileSync("npm", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [packed] = JSON.parse(output.slice(output.indexOf("["))) as { filename: string }[];
  execFileSync("tar", ["-xzf", join(project, packed?.filename ?? ""), "-C", target, "--strip-components", "1"]);
}

/** What a package declares, from where this repository has it. */
function link(name: string): void {
  const target = join(project, "node_modules", name);
  mkdirSync(dirname(target), { recursive: true });
  symlinkSync(realpathSync(join(ROOT, "node_modules", name)), target);
}

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "slimfast-installed-"));
  const declared = new Set(["@types/node", "undici-types"]);
  for (const [name, folder] of Object.entries(PACKAGES)) {
    pack(name, folder);
    const manifest = readFileSync(join(project, "node_modules", name, "package.json"), "utf8");
    const { dependencies } = JSON.parse(manifest) as { dependencies: Record<string, string> };
    for (const dependency of Object.keys(dependencies)) if (!(dependency in PACKAGES)) declared.add(dependency);
  }
  for (const name of declared) link(name);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "installed", type: "module", private: true }));
  writeFileSync(join(project, "main.ts"), PROGRAM);
}, TIMEOUT_MS);

afterAll(() => rmSync(project, { recursive: true, force: true }));

it.each([
  ["nodenext", "nodenext"],
  ["esnext", "bundler"],
])(
  "is compiled with the modules of %s, resolved as %s",
  (module, moduleResolution) => {
    const options = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--target",
      "es2022",
      "--types",
      "node",
      "--skipLibCheck",
    ];
    const args = [TSC, ...options, "--module", module, "--moduleResolution", moduleResolution, "main.ts"];
    const { stdout, status } = spawnSync(process.execPath, args, { cwd: project, encoding: "utf8" });
    expect(stdout).toBe("");
    expect(status).toBe(0);
  },
  TIMEOUT_MS,
);

it(
  "runs, and says by a code what it could not do",
  () => {
    const output = execFileSync(process.execPath, ["main.js"], { cwd: project, encoding: "utf8" });
    expect(output.trim().split("\n")).toEqual(["function", "unavailable"]);
  },
  TIMEOUT_MS,
);

it("every entry has its types first, and what it names is there; nothing is CommonJS", () => {
  for (const name of Object.keys(PACKAGES)) {
    const folder = join(project, "node_modules", name);
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      type: string;
      exports: Record<string, string | Record<string, string>>;
    };
    expect(manifest.type).toBe("module");
    for (const entry of Object.values(manifest.exports)) {
      const conditions = typeof entry === "string" ? { default: entry } : entry;
      if (typeof entry !== "string") expect(Object.keys(entry)).toEqual(["types", "default"]);
      for (const path of Object.values(conditions)) {
        const text = readFileSync(join(folder, path), "utf8");
        if (path.endsWith(".js")) expect(text).not.toMatch(/\b(module\.exports|require\()/);
      }
    }
  }
});
