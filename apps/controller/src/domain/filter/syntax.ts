/**
 * Reads a filter (AIP-160) into a tree. Pure; knows nothing of messages and their fields.
 *
 *     filter     = expression ;
 *     expression = factor { "AND" factor } ;            OR binds tighter than AND, as AIP-160 has it
 *     factor     = term { "OR" term } ;
 *     term       = [ "NOT" | "-" ] ( "(" expression ")" | comparison ) ;
 *     comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value ;
 *     field      = name { "." ( name | quoted ) } ;
 *     value      = quoted | bare word ;
 *
 * Two comparisons with only a space between them are refused: AIP-160 leaves their meaning to the service, and people
 * guess wrong. Every error says where it is; length, depth and number of comparisons are limited, so no filter is costly.
 */
import { MAX_FILTER_CHARS, MAX_FILTER_COMPARISONS, MAX_FILTER_DEPTH } from "../../limits.js";

export type Operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":";

export interface Text {
  readonly text: string;
  readonly isQuoted: boolean;
  /** Index of its first character in the filter. */
  readonly position: number;
}

export interface Comparison {
  readonly kind: "comparison";
  readonly field: readonly Text[];
  readonly operator: Operator;
  readonly operatorPosition: number;
  readonly value: Text;
}

export type Expression =
  | Comparison
  | { readonly kind: "not"; readonly operand: Expression }
  | { readonly kind: "and" | "or"; readonly operands: readonly Expression[] };

/** Why a filter cannot be used, and at which character of it. */
export class FilterProblem extends Error {
  override readonly name = "FilterProblem";
  /** Index, from 0. */
  readonly position: number;

  constructor(position: number, problem: string) {
    super(problem);
    this.position = position;
  }
}

const SPACE = /\s*/y;
const KEYWORD = /(AND|OR|NOT)(?![-\w./"])/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
/** In a map key: whatever labels may have, but no dot at its end. */
const KEY = /[A-Za-z0-9_][-A-Za-z0-9_/]*/y;
const OPERATOR = /!=|<=|>=|=|<|>|:/y;
const BARE_VALUE = /[^\s()"',]+/y;
const QUOTED = /"(?:[^"\\]|\\["'\\*])*"|'(?:[^'\\]|\\["'\\*])*'/y;

class Reader {
  readonly #filter: string;
  #position = 0;
  #depth = 0;
  #comparisons = 0;

  constructor(filter: string) {
    this.#filter = filter;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#filter);
    if (!match) return undefined;
    this.#position += match[0].length;
    return match[0];
  }

  #skipSpace(): void {
    this.#take(SPACE);
  }

  #takeKeyword(keyword: "AND" | "OR" | "NOT"): boolean {
    const start = this.#position;
    if (this.#take(KEYWORD) === keyword) return true;
    this.#position = start;
    return false;
  }

  #takeCharacter(character: string): boolean {
    if (this.#filter[this.#position] !== character) return false;
    this.#position += 1;
    return true;
  }

  /** What stands here, for an error. */
  #found(): string {
    const rest = this.#filter.slice(this.#position);
    if (rest === "") return "the end";
    const word = /^[^\s()]{1,20}/.exec(rest)?.[0] ?? rest.slice(0, 1);
    return JSON.stringify(word);
  }

  #fail(expected: string): never {
    throw new FilterProblem(this.#position, `expected ${expected}, found ${this.#found()}`);
  }

  #descend<Result>(read: () => Result): Result {
    this.#depth += 1;
    if (this.#depth > MAX_FILTER_DEPTH) {
      throw new FilterProblem(this.#position, `is nested more than ${MAX_FILTER_DEPTH} deep`);
    }
    const result = read();
    this.#depth -= 1;
    return result;
  }

  readAll(): Expression {
    this.#skipSpace();
    const expression = this.#readJoined("AND", "and", () => this.#readJoined("OR", "or", () => this.#readTerm()));
    if (this.#position < this.#filter.length) this.#fail("AND, OR or the end");
    return expression;
  }

  #readJoined(keyword: "AND" | "OR", kind: "and" | "or", readOperand: () => Expression): Expression {
    const first = readOperand();
    const operands = [first];
    while (this.#takeKeyword(keyword)) {
      this.#skipSpace();
      operands.push(readOperand());
    }
    return operands.length === 1 ? first : { kind, operands };
  }

  #readTerm(): Expression {
    const isNegated = this.#takeKeyword("NOT") || this.#takeCharacter("-");
    this.#skipSpace();
    const operand = isNegated ? this.#descend(() => this.#readOperand()) : this.#readOperand();
    this.#skipSpace();
    return isNegated ? { kind: "not", operand } : operand;
  }

  #readOperand(): Expression {
    if (!this.#takeCharacter("(")) return this.#readComparison();
    return this.#descend(() => {
      this.#skipSpace();
      const inner = this.#readJoined("AND", "and", () => this.#readJoined("OR", "or", () => this.#readTerm()));
      if (!this.#takeCharacter(")")) this.#fail("AND, OR or )");
      return inner;
    });
  }

  #readComparison(): Comparison {
    this.#comparisons += 1;
    if (this.#comparisons > MAX_FILTER_COMPARISONS) {
      throw new FilterProblem(this.#position, `has more than ${MAX_FILTER_COMPARISONS} comparisons`);
    }
    const field = this.#readField();
    this.#skipSpace();
    const operatorPosition = this.#position;
    const operator = this.#take(OPERATOR) as Operator | undefined;
    if (!operator) this.#fail("one of = != < <= > >= :");
    this.#skipSpace();
    const value = this.#readQuoted() ?? this.#readBare(BARE_VALUE);
    if (!value) this.#fail("a value");
    return { kind: "comparison", field, operator, operatorPosition, value };
  }

  #readField(): readonly Text[] {
    const start = this.#position;
    if (this.#take(KEYWORD) !== undefined) {
      this.#position = start;
      this.#fail("a field");
    }
    const name = this.#readBare(NAME);
    if (!name) this.#fail("a field");
    const field = [name];
    while (this.#takeCharacter(".")) {
      const next = this.#readQuoted() ?? this.#readBare(KEY);
      if (!next) this.#fail("a field or a key");
      field.push(next);
    }
    return field;
  }

  #readBare(pattern: RegExp): Text | undefined {
    const position = this.#position;
    const text = this.#take(pattern);
    return text === undefined ? undefined : { text, isQuoted: false, position };
  }

  #readQuoted(): Text | undefined {
    const position = this.#position;
    const opening = this.#filter[position];
    if (opening !== '"' && opening !== "'") return undefined;
    const quoted = this.#take(QUOTED);
    if (quoted === undefined) {
      throw new FilterProblem(position, `has a ${opening} that is not closed, or a \\ before what needs none`);
    }
    return { text: quoted.slice(1, -1), isQuoted: true, position };
  }
}

/**
 * The tree of a filter that is not blank.
 *
 * @throws FilterProblem
 */
export function readFilter(filter: string): Expression {
  if (filter.length > MAX_FILTER_CHARS) {
    throw new FilterProblem(MAX_FILTER_CHARS, `has more than ${MAX_FILTER_CHARS} characters`);
  }
  return new Reader(filter).readAll();
}

/** Text without the backslashes of a quoted string. */
export function plainText({ text, isQuoted }: Text): string {
  return isQuoted ? text.replace(/\\(.)/g, "$1") : text;
}
