/**
 * Where the boxes of a graph stand: in columns from left to right, who connects before whom is connected to; within a
 * column close to their neighbours. Pure, and the same for the same graph.
 */

export interface Edge {
  readonly from: string;
  readonly to: string;
}

export interface Place {
  readonly x: number;
  readonly y: number;
}

export interface Spacing {
  readonly column: number;
  readonly row: number;
}

/** Times that the order within the columns is improved; a few are enough. */
const SWEEPS = 4;

export function layered(names: readonly string[], edges: readonly Edge[], spacing: Spacing): Map<string, Place> {
  const known = new Set(names);
  const real = edges.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const columns = columnsOf(names, columnNumbers(names, forward(names, real)));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const column of sweep % 2 === 0 ? columns : [...columns].reverse()) arrange(column, columns, real);
  }
  const tallest = Math.max(1, ...columns.map(({ length }) => length));
  const places = new Map<string, Place>();
  for (const [index, column] of columns.entries()) {
    const top = ((tallest - column.length) * spacing.row) / 2;
    for (const [row, name] of column.entries())
      places.set(name, { x: index * spacing.column, y: top + row * spacing.row });
  }
  return places;
}

/** The edges without those that would close a circle, as found by a walk from the names in their order. */
function forward(names: readonly string[], edges: readonly Edge[]): Edge[] {
  const next = new Map<string, Edge[]>();
  for (const edge of edges) next.set(edge.from, [...(next.get(edge.from) ?? []), edge]);
  const targets = new Set(edges.map(({ to }) => to));
  const done = new Set<string>();
  const onPath = new Set<string>();
  const kept: Edge[] = [];
  const walk = (name: string): void => {
    if (done.has(name)) return;
    onPath.add(name);
    for (const edge of next.get(name) ?? []) {
      if (onPath.has(edge.to)) continue;
      kept.push(edge);
      walk(edge.to);
    }
    onPath.delete(name);
    done.add(name);
  };
  // Who is connected to by nobody comes first.
  for (const name of [...names].sort((a, b) => Number(targets.has(a)) - Number(targets.has(b)))) walk(name);
  return kept;
}

/** The longest way to each name. */
function columnNumbers(names: readonly string[], edges: readonly Edge[]): Map<string, number> {
  const numbers = new Map(names.map((name) => [name, 0]));
  for (let round = 0; round < names.length; round += 1) {
    let isChanged = false;
    for (const { from, to } of edges) {
      const least = (numbers.get(from) ?? 0) + 1;
      if ((numbers.get(to) ?? 0) >= least) continue;
      numbers.set(to, least);
      isChanged = true;
    }
    if (!isChanged) break;
  }
  return numbers;
}

function columnsOf(names: readonly string[], numbers: ReadonlyMap<string, number>): string[][] {
  const columns: string[][] = [];
  for (const name of [...names].sort()) {
    const number = numbers.get(name) ?? 0;
    while (columns.length <= number) columns.push([]);
    columns[number]?.push(name);
  }
  return columns;
}

/** Orders one column by the mean place of each one's neighbours. */
function arrange(column: string[], columns: readonly (readonly string[])[], edges: readonly Edge[]): void {
  const rows = new Map<string, number>();
  for (const each of columns) {
    for (const [row, name] of each.entries()) rows.set(name, (row + 0.5) / each.length);
  }
  const wanted = new Map(
    column.map((name) => {
      const neighbours = edges.flatMap(({ from, to }) => (from === name ? [to] : to === name ? [from] : []));
      const sum = neighbours.reduce((total, other) => total + (rows.get(other) ?? 0), 0);
      return [name, neighbours.length === 0 ? (rows.get(name) ?? 0) : sum / neighbours.length];
    }),
  );
  column.sort((a, b) => (wanted.get(a) ?? 0) - (wanted.get(b) ?? 0) || (a < b ? -1 : 1));
}
