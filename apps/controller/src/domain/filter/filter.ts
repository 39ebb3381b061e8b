/**
 * Filters (AIP-160) over the messages of the API: what their comparisons mean for a type of message. Pure.
 *
 * Fields have their names in the .proto file. What is left unsaid there:
 * - `x != y` holds exactly where `x = y` does not, also where x is not set or the map has no such key.
 * - `labels.app` compares the value of the key `app`; everything after the map's name is the key. `labels:app` asks
 *   whether the key is there, and so does `labels.app:*`.
 * - `ports:…` and `published_ports.host_port:8080` hold if any element does; a list knows no other operator.
 * - `field:*` holds if the field is set to something other than its default.
 * - Text: `=` and `!=` know `*` at either end of the value; `:` finds a part of the text in any case.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ClusterError } from "../../errors.js";
import { type Comparison, type Expression, FilterProblem, plainText, readFilter, type Text } from "./syntax.js";
import { plainTest, timestampTest, type ValueTest } from "./values.js";

const TIMESTAMP = "google.protobuf.Timestamp";

/** A message as ts-proto makes it. */
type Properties = Readonly<Record<string, unknown>>;

function isWildcard({ text, isQuoted }: Text): boolean {
  return text === "*" && !isQuoted;
}

/** Whether the value is other than the default of its type. */
function isSet(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Date) return true;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** The field of the message by that name, or of the alternatives of its oneofs. */
function fieldOf(type: DescMessage, name: Text): DescField {
  const found = type.fields.find((field) => field.name === name.text);
  if (found && !name.isQuoted) return found;
  const names = type.fields.map((field) => field.name).join(", ");
  throw new FilterProblem(name.position, `there is no field ${JSON.stringify(name.text)}; there are ${names}`);
}

/** What the property holds; ts-proto puts the alternatives of a oneof into one property. */
function valueIn(field: DescField, message: unknown): unknown {
  if (typeof message !== "object" || message === null) return undefined;
  const properties = message as Properties;
  if (!field.oneof) return properties[field.localName];
  const chosen = properties[field.oneof.localName] as { $case: string; value: unknown } | undefined;
  return chosen?.$case === field.localName ? chosen.value : undefined;
}

function expectEnd([next]: readonly Text[]): void {
  if (next) throw new FilterProblem(next.position, "the field before this has no fields of its own");
}

function mapTest(field: DescField & { fieldKind: "map" }, path: readonly Text[], comparison: Comparison): ValueTest {
  const { operator, operatorPosition, value } = comparison;
  if (path.length === 0) {
    if (operator !== ":") {
      throw new FilterProblem(operatorPosition, `${field.name} is a map: use ${field.name}.KEY, or : to ask for a key`);
    }
    if (isWildcard(value)) return isSet;
    const key = plainText(value);
    return (map) => Object.hasOwn((map ?? {}) as object, key);
  }
  const key = path.map(plainText).join(".");
  const has: ValueTest = (map) => Object.hasOwn((map ?? {}) as object, key);
  if (operator === ":" && isWildcard(value)) return has;
  const test = plainTest(field, comparison);
  if (!test) throw new FilterProblem(operatorPosition, `values of ${field.name} cannot be compared`);
  return (map) => (has(map) ? test((map as Properties)[key]) : operator === "!=");
}

function messageTest(field: DescField, type: DescMessage, path: readonly Text[], comparison: Comparison): ValueTest {
  const { operator, operatorPosition, value } = comparison;
  const isPresence = operator === ":" && isWildcard(value) && path.length === 0;
  if (isPresence) return isSet;
  if (type.typeName === TIMESTAMP) {
    expectEnd(path);
    return timestampTest(comparison);
  }
  if (path.length === 0) {
    const names = type.fields.map(({ name }) => `${field.name}.${name}`).join(", ");
    throw new FilterProblem(operatorPosition, `${field.name} cannot be compared as a whole; its fields are ${names}`);
  }
  return pathTest(type, path, comparison);
}

function fieldTest(field: DescField, path: readonly Text[], comparison: Comparison): ValueTest {
  const { operator, operatorPosition, value } = comparison;
  if (field.fieldKind === "map") return mapTest(field, path, comparison);
  if (field.message && field.fieldKind === "message") return messageTest(field, field.message, path, comparison);
  if (operator === ":" && isWildcard(value)) {
    if (field.fieldKind !== "list") expectEnd(path);
    if (path.length === 0) return isSet;
  }
  if (field.fieldKind === "list") {
    if (operator !== ":") {
      throw new FilterProblem(operatorPosition, `${field.name} is a list: use : to ask whether any element matches`);
    }
    const test = field.message ? messageTest(field, field.message, path, comparison) : plainTest(field, comparison);
    if (!test) throw new FilterProblem(operatorPosition, `${field.name} cannot be compared`);
    if (!field.message) expectEnd(path);
    return (list) => Array.isArray(list) && list.some(test);
  }
  expectEnd(path);
  const test = plainTest(field, comparison);
  if (!test) throw new FilterProblem(operatorPosition, `${field.name} cannot be compared`);
  return test;
}

/** The test of a message by a path of fields. */
function pathTest(type: DescMessage, path: readonly Text[], comparison: Comparison): ValueTest {
  const [name, ...rest] = path;
  if (!name) throw new FilterProblem(comparison.operatorPosition, "a field is missing");
  const field = fieldOf(type, name);
  const test = fieldTest(field, rest, comparison);
  const isNegative = comparison.operator === "!=";
  return (message) => {
    const value = valueIn(field, message);
    if (value === undefined && field.fieldKind !== "message" && field.fieldKind !== "map") return isNegative;
    return test(value);
  };
}

function expressionTest(type: DescMessage, expression: Expression): ValueTest {
  if (expression.kind === "comparison") return pathTest(type, expression.field, expression);
  if (expression.kind === "not") {
    const test = expressionTest(type, expression.operand);
    return (message) => !test(message);
  }
  const tests = expression.operands.map((operand) => expressionTest(type, operand));
  return expression.kind === "and"
    ? (message) => tests.every((test) => test(message))
    : (message) => tests.some((test) => test(message));
}

/**
 * The test that a filter means for messages of the type. A blank filter lets everything pass.
 *
 * @throws ClusterError `invalid_argument` on the field `filter`, with the position of what is wrong.
 */
export function filterOf<Message extends object>(type: DescMessage, filter: string): (message: Message) => boolean {
  if (filter.trim() === "") return () => true;
  try {
    return expressionTest(type, readFilter(filter));
  } catch (error) {
    if (!(error instanceof FilterProblem)) throw error;
    const { position, message } = error;
    const before = filter.slice(Math.max(0, position - 20), position);
    const near = before === "" ? "" : `, after ${JSON.stringify(before)}`;
    const description = `at character ${position + 1}${near}: ${message}`;
    throw new ClusterError("invalid_argument", `filter ${description}`, { fields: [{ field: "filter", description }] });
  }
}
