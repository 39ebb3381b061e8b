/** Lists and watches of any kind of resource, as tables or JSON. */
import type { ControllerClient } from "@slimfast/client";
import { EXIT, messageOf } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { formatTable, printJson, printLine } from "../output.js";
import { withCluster } from "../remote/controller.js";
import type { RemoteOptions } from "../remote/settings.js";
import type { Selection, View } from "./views.js";

export interface ListCommandOptions extends RemoteOptions, Selection {
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** `slimfast KIND list`. */
export async function listResources<Item>(view: View<Item>, options: ListCommandOptions): Promise<void> {
  await withCluster(options, async (controller) => {
    if (options.watch) return watch(view, controller, options);
    const items = await collect(view.list(controller, options));
    if (options.json) printJson(items.map((item) => view.json(item)));
    else if (items.length === 0) printLine(`No ${view.plural}.`);
    else printLine(formatTable(view.header, items.map(view.row)));
  });
}

/**
 * Goes on with what changes until Ctrl-C: in JSON one object per line, else a line for each. Filters are the server's, so
 * whenever something has changed the list is asked for again, and the difference is shown.
 */
async function watch<Item>(view: View<Item>, controller: ControllerClient, options: ListCommandOptions): Promise<void> {
  const interrupts = watchInterrupts();
  let shown = new Map<string, Item>();
  let isFirst = true;
  try {
    for await (const event of controller.watchResources({ kinds: [view.kind], signal: interrupts.signal })) {
      if (event.type === "interrupted") {
        process.stderr.write(`slimfast: interrupted: ${messageOf(event.error)}\n`);
        continue;
      }
      if (event.type !== "synced") continue;
      const items = await collect(view.list(controller, options));
      const now = new Map(items.map((item) => [view.key(item), item]));
      for (const change of difference(view, shown, now)) show(view, change, options.json === true, isFirst);
      shown = now;
      isFirst = false;
    }
  } catch (error) {
    if (!interrupts.signal.aborted) throw error;
    process.exitCode = EXIT.ok;
  } finally {
    interrupts.close();
  }
}

interface Change<Item> {
  readonly type: "added" | "changed" | "deleted";
  readonly item: Item;
}

export function difference<Item>(
  view: Pick<View<Item>, "version">,
  before: ReadonlyMap<string, Item>,
  after: ReadonlyMap<string, Item>,
): Change<Item>[] {
  const changes: Change<Item>[] = [];
  for (const [key, item] of before) if (!after.has(key)) changes.push({ type: "deleted", item });
  for (const [key, item] of after) {
    const earlier = before.get(key);
    if (earlier === undefined) changes.push({ type: "added", item });
    else if (view.version(earlier) !== view.version(item)) changes.push({ type: "changed", item });
  }
  return changes;
}

function show<Item>(view: View<Item>, { type, item }: Change<Item>, json: boolean, isFirst: boolean): void {
  if (json) printJson({ type: isFirst ? "existing" : type, item: view.json(item) });
  else printLine([(isFirst ? "existing" : type).padEnd(8), ...view.row(item)].join("  "));
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** One resource: its cells one below the other, or its JSON. */
export function printResource<Item>(
  view: Pick<View<Item>, "header" | "row" | "json">,
  item: Item,
  json: boolean,
): void {
  if (json) {
    printJson(view.json(item));
    return;
  }
  const width = Math.max(...view.header.map((title) => title.length));
  for (const [index, cell] of view.row(item).entries()) {
    printLine(`${(view.header[index] ?? "").padEnd(width)}  ${cell}`);
  }
}
