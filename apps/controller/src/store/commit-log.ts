/** What was committed: announced to listeners, and kept for a while for those who were away. */
import { frontReservation, publishedReservations } from "../domain/resources.js";
import { KEPT_CHANGES } from "../limits.js";
import type { Mutation } from "./state.js";
import type { Change, ChangeOf, Commit } from "./store.js";

/** A mutation, as others hear of it. */
export function changeOf({ kind, key, before, after }: Mutation): Change {
  // A mutation has both values of its own kind, which the type of a union cannot say.
  return { kind, key, ...(before && { before }), ...(after && { after }) } as Change;
}

/** The reservations that are part of a node or an endpoint change with it. */
function* reservationChanges(change: Change): Generator<ChangeOf<"reservation">> {
  const reservations = (value: Change["before"]) => {
    if (!value) return [];
    if (change.kind === "node") return [frontReservation(value as NonNullable<typeof change.before>)];
    return publishedReservations(value as NonNullable<ChangeOf<"endpoint">["before"]>);
  };
  const key = (node: string, first: number) => `${node}/${first}`;
  const after = reservations(change.after);
  const before = new Map(reservations(change.before).map((old) => [key(old.node, old.ports.first), old]));
  for (const current of after) {
    const name = key(current.node, current.ports.first);
    const former = before.get(name);
    before.delete(name);
    yield { kind: "reservation", key: name, ...(former && { before: former }), after: current };
  }
  for (const [name, former] of before) yield { kind: "reservation", key: name, before: former };
}

/** The commit that mutations come to. */
export function commitOf(revision: bigint, mutations: readonly Mutation[]): Commit {
  const changes: Change[] = [];
  for (const mutation of mutations) {
    const change = changeOf(mutation);
    changes.push(change);
    if (change.kind === "node" || change.kind === "endpoint") changes.push(...reservationChanges(change));
  }
  return { revision, changes };
}

export class CommitLog {
  readonly #listeners = new Set<(commit: Commit) => void>();
  #commits: Commit[] = [];
  #first = 0;
  #changes = 0;
  /** All commits after this one are kept. */
  #floor: bigint;

  constructor(revision: bigint) {
    this.#floor = revision;
  }

  onCommit(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  announce(commit: Commit): void {
    this.#commits.push(commit);
    this.#changes += commit.changes.length;
    while (this.#changes > KEPT_CHANGES && this.#first < this.#commits.length - 1) this.#drop();
    for (const listener of this.#listeners) listener(commit);
  }

  #drop(): void {
    const oldest = this.#commits[this.#first] as Commit;
    this.#first += 1;
    this.#changes -= oldest.changes.length;
    this.#floor = oldest.revision;
    if (this.#first * 2 > this.#commits.length) {
      this.#commits = this.#commits.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Forgets everything: what came between is not known. */
  restart(revision: bigint): void {
    this.#commits = [];
    this.#first = 0;
    this.#changes = 0;
    this.#floor = revision;
  }

  after(revision: bigint, latest: bigint): readonly Commit[] | undefined {
    if (revision < this.#floor || revision > latest) return undefined;
    let low = this.#first;
    let high = this.#commits.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#commits[middle] as Commit).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#commits.slice(low);
  }
}
