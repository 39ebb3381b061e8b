/**
 * Which combinations of a row of the threat model, an address family and a way to come by a socket are attempts. All of
 * them are, but for those that are named here with the reason; the suite fails if another one was not tried.
 */
import { type Account, type Attempt, FAMILIES, WAYS } from "./attempts.js";

interface Exclusion {
  readonly rows: readonly number[];
  readonly families?: readonly Attempt["family"][];
  readonly ways?: readonly Attempt["way"][];
  readonly why: string;
}

export const EXCLUSIONS: readonly Exclusion[] = [
  {
    rows: [7],
    ways: ["direct"],
    why: "a socket that its own container uses is in nobody else's hands",
  },
  {
    rows: [11],
    families: ["mapped"],
    why: "what is interrupted is socket(2), which is the same call for IPv6 and v4-mapped",
  },
  {
    rows: [11],
    ways: ["direct", "scm"],
    why: "who is killed in socket(2) is a child, and has no socket yet that could be sent",
  },
  {
    rows: [12, 13],
    ways: ["fork", "scm"],
    why: "who sends packets by hand has no socket of a container",
  },
  {
    rows: [14],
    ways: ["fork", "scm"],
    why: "what is stale is the node's table, whoever's socket connects",
  },
  {
    rows: [15],
    ways: ["fork", "scm"],
    why: "a door is a path, an address or another process' descriptor; sockets that lead there from a container are rows 1 and 2",
  },
  {
    rows: [16],
    families: ["inet6", "mapped"],
    why: "credentials go by the certificate and the token of a call, not by its address",
  },
  { rows: [16], ways: ["fork", "scm"], why: "credentials are no sockets" },
];

export function reasonAgainst(row: number, family: Attempt["family"], way: Attempt["way"]): string | undefined {
  return EXCLUSIONS.find(
    ({ rows, families, ways }) =>
      rows.includes(row) && (families?.includes(family) ?? true) && (ways?.includes(way) ?? true),
  )?.why;
}

/** Combinations that apply to the rows and were not tried, and those that were tried though they cannot be. */
export function mismatches(account: Account, rows: readonly number[]): string[] {
  return rows.flatMap((row) =>
    FAMILIES.flatMap((family) =>
      WAYS.flatMap((way) => {
        const isTried = account.attemptsOf(row, family, way) > 0;
        const why = reasonAgainst(row, family, way);
        if (isTried === (why === undefined)) return [];
        return [`row ${row}, ${family}, ${way}: ${isTried ? `was tried, but: ${why}` : "was not tried"}`];
      }),
    ),
  );
}

/** The exclusions of the rows, for people. */
export function exclusionsOf(rows: readonly number[]): string {
  return EXCLUSIONS.filter((exclusion) => exclusion.rows.some((row) => rows.includes(row)))
    .map((exclusion) => {
      const which = [exclusion.families ?? [], exclusion.ways ?? []].flat().join(", ");
      return `row ${exclusion.rows.join(", ")} not by ${which}: ${exclusion.why}`;
    })
    .join("\n");
}
