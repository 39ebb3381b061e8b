/** What is shown, as a file: CSV for spreadsheets, NDJSON for programs. Pure but for `download`. */

export interface ExportColumn<Item> {
  readonly name: string;
  readonly text: (item: Item) => string;
}

/** One field of a CSV file (RFC 4180); what a spreadsheet would take for a formula is made text. */
export function csvField(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csvOf<Item>(columns: readonly ExportColumn<Item>[], items: readonly Item[]): string {
  const lines = items.map((item) => columns.map(({ text }) => csvField(text(item))).join(","));
  return [columns.map(({ name }) => name).join(","), ...lines, ""].join("\r\n");
}

export function ndjsonOf<Item>(toJson: (item: Item) => unknown, items: readonly Item[]): string {
  return items.map((item) => `${JSON.stringify(toJson(item))}\n`).join("");
}

export function download(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
