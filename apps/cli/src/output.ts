/** What goes to stdout: JSON and tables. Progress is in progress.ts and goes to stderr. */

/** Prints one JSON object or array on one line; bigint becomes a number where that is exact, else text. */
export function printJson(value: unknown): void {
  process.stdout.write(`${toJson(value)}\n`);
}

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== "bigint") return item;
    return item <= BigInt(Number.MAX_SAFE_INTEGER) && item >= BigInt(Number.MIN_SAFE_INTEGER)
      ? Number(item)
      : `${item}`;
  });
}

export function printLine(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Columns padded to their widest cell; numbers belong to the right. Empty `rows` give the header alone. */
export function formatTable(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column] ?? "").length)),
  );
  const isNumeric = header.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"));
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] ? String(cell).padStart(width) : String(cell).padEnd(width);
      })
      .join("  ")
      .trimEnd();
  return [line(header), ...rows.map(line)].join("\n");
}

/** 1536 -> "1.5 KiB". */
export function formatBytes(bytes: bigint): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** 1_234_567 microseconds -> "1.2 s". */
export function formatDuration(microseconds: bigint): string {
  const us = Number(microseconds);
  if (us < 1_000) return `${us} us`;
  if (us < 1_000_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 60_000_000) return `${(us / 1_000_000).toFixed(1)} s`;
  return `${Math.floor(us / 60_000_000)} min ${Math.floor((us % 60_000_000) / 1_000_000)} s`;
}
