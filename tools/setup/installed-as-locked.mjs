// Exits 0 if node_modules holds exactly the versions of package-lock.json, by npm's own record of what it installed.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = process.argv[2] ?? ".";

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), "utf8")).packages;
  } catch {
    return undefined;
  }
}

const locked = packagesOf("package-lock.json");
const installed = packagesOf("node_modules/.package-lock.json");
if (!locked || !installed) process.exit(1);

for (const [path, entry] of Object.entries(locked)) {
  if (!path.startsWith("node_modules/") || entry.optional) continue;
  const found = installed[path];
  if (!found || found.version !== entry.version || found.link !== entry.link) process.exit(1);
}
