/** Numbers with their units, times relative and exact. Pure. */
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number | bigint): string {
  return WHOLE.format(value);
}

export function rate(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)}/s`;
}

export function bytes(value: number | bigint): string {
  let amount = Number(value);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (amount < 1024) return `${unit === "B" ? amount : amount.toFixed(1)} ${unit}`;
    amount /= 1024;
  }
  return `${amount.toFixed(1)} TiB`;
}

export function microseconds(us: number | bigint): string {
  const value = Number(us);
  if (value === 0) return "–";
  if (value < 1_000) return `${value} µs`;
  if (value < 1_000_000) return `${(value / 1_000).toFixed(1)} ms`;
  return duration(value / 1_000);
}

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

export function clock(time: Date | undefined): string {
  return time ? time.toISOString().slice(11, 23) : "–";
}

export function address(socket: { readonly address: string; readonly port: number } | undefined): string {
  if (!socket) return "–";
  return socket.address.includes(":") ? `[${socket.address}]:${socket.port}` : `${socket.address}:${socket.port}`;
}

export function ports(range: { readonly first: number; readonly count: number } | undefined): string {
  if (!range) return "–";
  return range.count === 1 ? `${range.first}` : `${range.first}–${range.first + range.count - 1}`;
}

/** `8080`, `8080-8099` or `8080+20`; undefined if it is none of these. */
export function parsePorts(text: string): { first: number; count: number } | undefined {
  const match = /^\s*(\d{1,5})(?:\s*([-–+:])\s*(\d{1,5}))?\s*$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const second = match[3] === undefined ? first : Number(match[3]);
  const amount = match[2] === "+" || match[2] === ":" ? second : second - first + 1;
  return first >= 1 && amount >= 1 && first + amount - 1 <= 65_535 ? { first, count: amount } : undefined;
}

/** `90s`, `30m`, `8h`, `7d` in seconds; undefined if it is none of these. */
export function parseLease(text: string): number | undefined {
  const match = /^\s*(\d{1,9})\s*(s|m|h|d)\s*$/.exec(text);
  if (!match) return undefined;
  return Number(match[1]) * { s: 1, m: 60, h: 3_600, d: 86_400 }[match[2] as "s" | "m" | "h" | "d"];
}

/** For a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** One field of a CSV file; what a spreadsheet would take for a formula is made text. */
export function csvField(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
