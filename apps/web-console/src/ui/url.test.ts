import { expect, test } from "vitest";
import { parseSearch, stringifySearch } from "./url.js";

test("a view's state is written plainly, without what is empty, and read back as text", () => {
  const state = { endpoint: "web", port: "80", q: "<script>", view: "" };
  const text = stringifySearch(state);
  expect(text).toBe("?endpoint=web&port=80&q=%3Cscript%3E");
  expect(parseSearch(text)).toEqual({ endpoint: "web", port: "80", q: "<script>" });
  expect(stringifySearch({})).toBe("");
});
