/** How one value of a message is compared with the text of a filter, by the value's type. Pure. */
import { type DescEnum, type DescField, ScalarType } from "@bufbuild/protobuf";
import { type Comparison, FilterProblem, type Operator, plainText, type Text } from "./syntax.js";

/** Whether a value of the field matches. */
export type ValueTest = (value: unknown) => boolean;

const ORDER: Readonly<Record<Exclude<Operator, ":">, (difference: number) => boolean>> = {
  "=": (difference) => difference === 0,
  "!=": (difference) => difference !== 0,
  "<": (difference) => difference < 0,
  "<=": (difference) => difference <= 0,
  ">": (difference) => difference > 0,
  ">=": (difference) => difference >= 0,
};

function compare<Value extends number | bigint | string>(one: Value, other: Value): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** The test for types with an order; `:` means equality. */
function ordered<Value extends number | bigint>(operator: Operator, wanted: Value): ValueTest {
  const isWanted = ORDER[operator === ":" ? "=" : operator];
  return (value) => isWanted(compare(value as Value, wanted));
}

function equality(operator: Operator, position: number, type: string, isEqual: ValueTest): ValueTest {
  if (operator === "=" || operator === ":") return isEqual;
  if (operator === "!=") return (value) => !isEqual(value);
  throw new FilterProblem(position, `${operator} cannot compare ${type}; = and != can`);
}

/** Text whose `*` at either end stands for anything; `\*` in quotes is an asterisk. */
function pattern(wanted: Text): ValueTest | undefined {
  const { text, isQuoted } = wanted;
  const isOpenAtStart = text.startsWith("*");
  const backslashes = /\\*(?=\*$)/.exec(text)?.[0].length ?? 0;
  const isOpenAtEnd = text.endsWith("*") && text.length > 1 && (!isQuoted || backslashes % 2 === 0);
  if (!isOpenAtStart && !isOpenAtEnd) return undefined;
  const middle = plainText({ ...wanted, text: text.slice(isOpenAtStart ? 1 : 0, isOpenAtEnd ? -1 : undefined) });
  return (value) => {
    const found = String(value);
    if (isOpenAtStart && isOpenAtEnd) return found.includes(middle);
    return isOpenAtStart ? found.endsWith(middle) : found.startsWith(middle);
  };
}

function textTest({ operator, value }: Comparison): ValueTest {
  const wanted = plainText(value);
  if (operator === ":") {
    const needle = wanted.toLowerCase();
    return (found) => String(found).toLowerCase().includes(needle);
  }
  const isLike = pattern(value);
  if (isLike && operator === "=") return isLike;
  if (isLike && operator === "!=") return (found) => !isLike(found);
  const isWanted = ORDER[operator];
  return (found) => isWanted(compare(String(found), wanted));
}

function numberTest({ operator, value }: Comparison): ValueTest {
  const text = plainText(value);
  if (!/^-?\d{1,15}(\.\d{1,6})?$/.test(text)) throw new FilterProblem(value.position, "must be a number");
  return ordered(operator, Number(text));
}

function integer64Test({ operator, value }: Comparison): ValueTest {
  const text = plainText(value);
  if (!/^-?\d{1,20}$/.test(text)) throw new FilterProblem(value.position, "must be an integer");
  return ordered(operator, BigInt(text));
}

function booleanTest({ operator, operatorPosition, value }: Comparison): ValueTest {
  const text = plainText(value);
  if (text !== "true" && text !== "false") throw new FilterProblem(value.position, "must be true or false");
  const wanted = text === "true";
  return equality(operator, operatorPosition, "booleans", (found) => found === wanted);
}

/** Values are named as in the .proto file, or without the enum's prefix, in any case: `draining`. */
function enumTest(type: DescEnum, { operator, operatorPosition, value }: Comparison): ValueTest {
  const wanted = plainText(value).toUpperCase();
  const prefix = (type.sharedPrefix ?? "").toUpperCase();
  const found = type.values.find(({ name }) => name === wanted || name === `${prefix}${wanted}`);
  if (!found) {
    const names = type.values.map(({ name }) => name.slice(prefix.length).toLowerCase()).join(", ");
    throw new FilterProblem(value.position, `must be one of ${names}`);
  }
  return equality(operator, operatorPosition, "enums", (number) => number === found.number);
}

/** RFC 3339. A time that is not set matches nothing but `!=`. */
export function timestampTest({ operator, value }: Comparison): ValueTest {
  const text = plainText(value);
  const isRfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[-+]\d\d:\d\d)$/.test(text);
  const wanted = isRfc3339 ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(wanted)) {
    throw new FilterProblem(value.position, 'must be a time as in RFC 3339, for example "2026-11-23T22:00:00Z"');
  }
  const test = ordered(operator, wanted);
  return (found) => (found instanceof Date ? test(found.getTime()) : operator === "!=");
}

export function scalarTest(type: ScalarType, comparison: Comparison): ValueTest {
  switch (type) {
    case ScalarType.STRING:
      return textTest(comparison);
    case ScalarType.BOOL:
      return booleanTest(comparison);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return integer64Test(comparison);
    case ScalarType.BYTES:
      throw new FilterProblem(comparison.operatorPosition, "bytes cannot be compared");
    default:
      return numberTest(comparison);
  }
}

/** The test for one value of a field that is no message; undefined if it is one. */
export function plainTest(field: Pick<DescField, "scalar" | "enum">, comparison: Comparison): ValueTest | undefined {
  if (field.enum) return enumTest(field.enum, comparison);
  if (field.scalar !== undefined) return scalarTest(field.scalar, comparison);
  return undefined;
}
