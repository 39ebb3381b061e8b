import { expect, test } from "vitest";
import { layered } from "./layout.js";

const SPACING = { column: 100, row: 10 };
const edge = (text: string) => {
  const [from = "", to = ""] = text.split(">");
  return { from, to };
};

test("who connects stands before whom is connected to", () => {
  const places = layered(["db", "front", "web"], ["front>web", "web>db", "front>db"].map(edge), SPACING);
  expect(places.get("front")?.x).toBe(0);
  expect(places.get("web")?.x).toBe(100);
  expect(places.get("db")?.x).toBe(200);
});

test("circles and edges to oneself end", () => {
  const places = layered(["a", "b", "c"], ["a>b", "b>c", "c>a", "b>b"].map(edge), SPACING);
  expect([...places.keys()].sort()).toEqual(["a", "b", "c"]);
  expect(new Set([...places.values()].map(({ x }) => x)).size).toBe(3);
});

test("no two stand in one place, and the same graph gives the same picture", () => {
  const names = Array.from({ length: 60 }, (_, index) => `n${index}`);
  const edges = names.flatMap((from, index) => [
    { from, to: `n${(index * 7 + 3) % 60}` },
    { from, to: `n${(index * 11 + 5) % 60}` },
  ]);
  const places = layered(names, edges, SPACING);
  expect(new Set([...places.values()].map(({ x, y }) => `${x} ${y}`)).size).toBe(60);
  expect(layered(names, edges, SPACING)).toEqual(places);
});

test("neighbours stand in one row where nothing speaks against it", () => {
  const places = layered(["a", "b", "x", "y"], ["a>y", "b>x"].map(edge), SPACING);
  expect(places.get("a")?.y).toBe(places.get("y")?.y);
  expect(places.get("b")?.y).toBe(places.get("x")?.y);
});
