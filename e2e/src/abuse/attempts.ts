/** What e2e/programs/abuse reports, and the account of all attempts of a run. */

export interface Attempt {
  /** Of the threat model, see docs/security.md. */
  readonly row: number;
  readonly attempt: string;
  readonly family: "inet" | "inet6" | "mapped";
  readonly way: "direct" | "fork" | "scm";
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

export function nameOf({ row, attempt, family, way }: Attempt): string {
  return `row ${row}: ${attempt} (${family}, ${way})`;
}

interface Row {
  attempts: number;
  leaked: number;
}

/** Counts attempts by row, over all tiers. */
export class Account {
  readonly #rows = new Map<number, Row>();

  add(row: number, achieved: boolean): void {
    const { attempts, leaked } = this.#rows.get(row) ?? { attempts: 0, leaked: 0 };
    this.#rows.set(row, { attempts: attempts + 1, leaked: leaked + (achieved ? 1 : 0) });
  }

  get leaked(): number {
    return [...this.#rows.values()].reduce((sum, row) => sum + row.leaked, 0);
  }

  get rows(): number[] {
    return [...this.#rows.keys()].sort((a, b) => a - b);
  }

  /** A line for each row, and one for all. */
  toString(): string {
    const lines = this.rows.map((row) => line(`row ${row}`, this.#rows.get(row) ?? { attempts: 0, leaked: 0 }));
    const attempts = [...this.#rows.values()].reduce((sum, row) => sum + row.attempts, 0);
    return [...lines, line(`${this.rows.length} rows`, { attempts, leaked: this.leaked })].join("\n");
  }
}

function line(name: string, { attempts, leaked }: Row): string {
  return `${name.padEnd(8)} attempts ${attempts}, blocked ${attempts - leaked}, leaked ${leaked}`;
}
