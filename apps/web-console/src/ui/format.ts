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

/** In its largest unit, where the exact time is at hand. */
export function roughDuration(ms: number): string {
  return duration(ms).split(" ").slice(0, 2).join(" ");
}

/** To the second, in UTC. */
export function exactTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** To the millisecond, for what happened within seconds. */
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

/** `8080`, `8080-8099`, `8080+20`, or `+20` for any block of 20 (`first` 0); undefined if it is none of these. */
export function parsePorts(text: string): { first: number; count: number } | undefined {
  const anywhere = /^\s*\+\s*(\d{1,5})\s*$/.exec(text);
  if (anywhere) {
    const wanted = Number(anywhere[1]);
    return wanted >= 1 && wanted <= 65_535 ? { first: 0, count: wanted } : undefined;
  }
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
