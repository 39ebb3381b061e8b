/** The package as it would be published, and its part for browsers as a bundler sees it. */
import { execFileSync } from "node:child_process";
import { isBuiltin } from "node:module";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { expect, it } from "vitest";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const TIMEOUT_MS = 60_000;

it(
  "has what it needs, and nothing else",
  () => {
    const output = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: PACKAGE,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [packed] = JSON.parse(output.slice(output.indexOf("["))) as { files: { path: string }[] }[];
    const files = packed?.files.map(({ path }) => path) ?? [];
    expect(files).toEqual(
      expect.arrayContaining([
        ...["package.json", "README.md", "dist/index.js", "dist/index.d.ts", "dist/web.js", "dist/web.d.ts"],
        ...["list", "watch", "policy", "reservation", "tail"].map((name) => `examples/${name}.ts`),
      ]),
    );
    const unwanted = files.filter((path) => /\.test\.|testing\/|^src\/|tsbuildinfo|^dist\/examples\//.test(path));
    expect(unwanted).toEqual([]);
  },
  TIMEOUT_MS,
);

it(
  "gives browsers nothing of Node.js",
  async () => {
    const bundle = await rolldown({ input: `${PACKAGE}/dist/web.js`, platform: "browser", logLevel: "silent" });
    const { output } = await bundle.generate({ format: "esm" });
    await bundle.close();
    const imports = output.flatMap((chunk) =>
      chunk.type === "chunk" ? [...chunk.imports, ...chunk.dynamicImports] : [],
    );
    expect(imports.filter((name) => isBuiltin(name) || !/^[./]/.test(name))).toEqual([]);
    const modules = output.flatMap((chunk) => (chunk.type === "chunk" ? chunk.moduleIds : []));
    expect(modules.some((id) => id.includes("nice-grpc-web"))).toBe(true);
    expect(modules.filter((id) => /@grpc\/grpc-js|\/nice-grpc\/|\/servers\.js$|\/tls\.js$/.test(id))).toEqual([]);
  },
  TIMEOUT_MS,
);
