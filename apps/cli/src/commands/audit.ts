/** `slimfast audit`: who did what. */
import type { AuditEntry } from "@slimfast/proto";
import { EXIT, messageOf } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import { formatTime, parseCount } from "../resources/values.js";

/** As many as the controller keeps. */
const MAX_ENTRIES = 20_000;

const HEADER = ["TIME", "ACTOR", "ACTION", "RESOURCE", "RESULT", "FROM"];

export async function audit(
  options: RemoteOptions & {
    readonly json?: boolean;
    readonly filter?: string;
    readonly follow?: boolean;
    readonly limit: string;
  },
): Promise<void> {
  const limit = parseCount(options.limit, "--limit", 1, MAX_ENTRIES);
  const { filter = "", json } = options;
  await withCluster(options, async (controller) => {
    if (!options.follow) {
      const entries: AuditEntry[] = [];
      for await (const entry of controller.listAllAuditEntries({ filter, pageSize: Math.min(limit, 1_000) })) {
        entries.push(entry);
        if (entries.length === limit) break;
      }
      if (json) printJson(entries);
      else if (entries.length === 0) printLine("No entries.");
      else printLine(formatTable(HEADER, entries.map(row)));
      return;
    }
    const interrupts = watchInterrupts();
    try {
      for await (const item of controller.tailAuditEntries({ filter, signal: interrupts.signal })) {
        if (item.type === "interrupted") process.stderr.write(`slimfast: interrupted: ${messageOf(item.error)}\n`);
        else if (json) printJson(item.entry);
        else printLine(row(item.entry).join("  "));
      }
    } catch (error) {
      if (!interrupts.signal.aborted) throw error;
      process.exitCode = EXIT.ok;
    } finally {
      interrupts.close();
    }
  });
}

function row(entry: AuditEntry): string[] {
  const result = entry.message === "" ? entry.code : `${entry.code}: ${entry.message}`;
  return [formatTime(entry.time), entry.actor, entry.action, entry.resource || "-", result, entry.peer];
}
