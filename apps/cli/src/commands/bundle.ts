/** `slimfast bundle`: everything that support needs, and no secret, in one archive. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { collectBundle, requireNew } from "../bundle/collect.js";
import { printJson, printLine } from "../output.js";
import { exec } from "../process/exec.js";
import type { RemoteOptions } from "../remote/settings.js";

export async function bundle(
  options: RemoteOptions & { readonly json?: boolean; readonly output?: string },
): Promise<void> {
  const time = new Date().toISOString().replace(/[-:]|\..*$/g, "");
  const name = `slimfast-bundle-${time}`;
  const path = resolve(options.output ?? `${name}.tar.gz`);
  requireNew(path);
  const files = await collectBundle(options);
  const directory = mkdtempSync(join(tmpdir(), "slimfast-bundle-"));
  try {
    for (const [file, content] of files) {
      const target = join(directory, name, file);
      mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
      writeFileSync(target, content, { mode: 0o600 });
    }
    await exec("tar", ["-C", directory, "-czf", path, name]);
    // Names and addresses of a cluster are not for everybody either.
    chmodSync(path, 0o600);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  if (options.json) printJson({ ok: true, path, files: [...files.keys()] });
  else printLine(`${path}: ${files.size} files; tokens and keys are taken out. Look at it before you send it.`);
}
