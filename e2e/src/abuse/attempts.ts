/** What e2e/programs/abuse reports, and the account of all attempts of a run. */

export const FAMILIES = ["inet", "inet6", "mapped"] as const;
export const WAYS = ["direct", "fork", "scm"] as const;

export interface Attempt {
  /** Of the threat model, see docs/security.md. */
  readonly row: number;
  readonly attempt: string;
  readonly family: (typeof FAMILIES)[number];
  /** How the process that tries has come by the socket. */
  readonly way: (typeof WAYS)[number];
  /** The attacker has what he wanted. */
  readonly achieved: boolean;
  /** Name of the errno that ended it; null if none did. */
  readonly error: string | null;
}

export function readAttempts(stdout: string): Attempt[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Attempt);
}

export function nameOf({ row, attempt, family, way }: Omit<Attempt, "error">): string {
  return `row ${row}: ${attempt} (${family}, ${way})`;
}

/** How often a row was tried with sockets of one family, come by in one way. */
interface Cell {
  attempts: number;
  leaked: number;
}

/** Counts attempts by row, family and way, over all tiers. */
export class Account {
  readonly #cells = new Map<string, Cell>();
  readonly #achieved: string[] = [];

  add(attempt: Omit<Attempt, "error">): void {
    const { row, family, way, achieved } = attempt;
    const key = `${row} ${family} ${way}`;
    if (achieved) this.#achieved.push(nameOf(attempt));
    const { attempts, leaked } = this.#cells.get(key) ?? { attempts: 0, leaked: 0 };
    this.#cells.set(key, { attempts: attempts + 1, leaked: leaked + (achieved ? 1 : 0) });
  }

  get leaked(): number {
    return this.#sum("").leaked;
  }

  get rows(): number[] {
    return [...new Set([...this.#cells.keys()].map((key) => Number.parseInt(key, 10)))].sort((a, b) => a - b);
  }

  attemptsOf(row: number, family: Attempt["family"], way: Attempt["way"]): number {
    return this.#sum(`${row} ${family} ${way}`).attempts;
  }

  /** Of all whose key begins so. */
  #sum(key: string): Cell {
    const cells = [...this.#cells].filter(([other]) => other === key || other.startsWith(key && `${key} `));
    return cells.reduce(
      (sum, [, { attempts, leaked }]) => ({ attempts: sum.attempts + attempts, leaked: sum.leaked + leaked }),
      { attempts: 0, leaked: 0 },
    );
  }

  /** A line for each row, with the attempts of each family and way, one for all, and one for each that was achieved. */
  toString(): string {
    const lines = this.rows.map((row) => {
      const cells = FAMILIES.map((family) => {
        const counts = WAYS.map((way) => this.attemptsOf(row, family, way) || "-");
        return `${family} ${counts.join("/")}`;
      });
      return `${line(`row ${row}`, this.#sum(String(row)))}; ${cells.join(", ")}`;
    });
    const header = `attempts of each family: ${WAYS.join("/")}`;
    const leaks = this.#achieved.map((name) => `leaked: ${name}`);
    return [header, ...lines, line(`${this.rows.length} rows`, this.#sum("")), ...leaks].join("\n");
  }
}

function line(name: string, { attempts, leaked }: Cell): string {
  return `${name.padEnd(8)} attempts ${attempts}, blocked ${attempts - leaked}, leaked ${leaked}`;
}
