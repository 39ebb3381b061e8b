import { expect, test } from "vitest";
import { labelText, parseLabels, parseSelectors, selectorsText } from "./labels.js";

test("labels are read as they are written", () => {
  expect(parseLabels("app=web, tier=front")).toEqual({ app: "web", tier: "front" });
  expect(parseLabels("")).toEqual({});
  expect(labelText({ tier: "front", app: "web" })).toBe("app=web, tier=front");
  expect(() => parseLabels("app")).toThrow(/app: labels are written as key=value/);
});

test("selectors are those of the command line, with alternatives", () => {
  const text = "@web; 10.32.0.0/16,app=web,tier=front; fd00:1::/64; all";
  expect(parseSelectors(text)).toEqual([
    { endpoint: "web", prefix: "", labels: {} },
    { endpoint: "", prefix: "10.32.0.0/16", labels: { app: "web", tier: "front" } },
    { endpoint: "", prefix: "fd00:1::/64", labels: {} },
    { endpoint: "", prefix: "", labels: {} },
  ]);
  expect(selectorsText(parseSelectors(text))).toBe(text);
  expect(() => parseSelectors("web")).toThrow(/^web: write all/);
});
