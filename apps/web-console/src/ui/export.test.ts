import { expect, test } from "vitest";
import { csvField, csvOf, ndjsonOf } from "./export.js";

test("what goes into a spreadsheet stays text there", () => {
  expect(csvField("=1+1")).toBe("'=1+1");
  expect(csvField("@SUM(A1)")).toBe("'@SUM(A1)");
  expect(csvField('a,"b"')).toBe('"a,""b"""');
  expect(csvField("web\n2")).toBe('"web\n2"');
});

test("files have a line for each item", () => {
  const columns = [
    { name: "name", text: ({ name }: { name: string }) => name },
    { name: "twice", text: ({ name }: { name: string }) => name + name },
  ];
  expect(csvOf(columns, [{ name: "a" }, { name: "b" }])).toBe("name,twice\r\na,aa\r\nb,bb\r\n");
  expect(ndjsonOf((item) => item, [{ name: "a" }, { name: "b" }])).toBe('{"name":"a"}\n{"name":"b"}\n');
});
