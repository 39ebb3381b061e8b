import { describe, expect, it } from "vitest";
import { messageType } from "./descriptors.js";
import { readUpdateMask } from "./update-mask.js";

const NETWORK = messageType("Network");
const MUTABLE = ["description", "labels", "default_deny"];

describe("an update mask", () => {
  it.each([[undefined], [[]], [["*"]]])("of %j means all that can be changed", (paths) => {
    const mask = readUpdateMask(paths, NETWORK, MUTABLE);
    expect(MUTABLE.every((field) => mask.has(field))).toBe(true);
    expect(mask.has("prefix")).toBe(false);
  });

  it("chooses between what is wanted and what is", () => {
    const mask = readUpdateMask(["description"], NETWORK, MUTABLE);
    expect(mask.choose("description", "new", "old")).toBe("new");
    expect(mask.choose("default_deny", true, false)).toBe(false);
    expect(mask.labels({ app: "web" }, { app: "db" })).toEqual({ app: "db" });
  });

  it("sets and removes single labels", () => {
    const mask = readUpdateMask(["labels.app", "labels.example.com/tier"], NETWORK, MUTABLE);
    expect(mask.labels({ app: "web", other: "x" }, { app: "db", "example.com/tier": "a", keep: "1" })).toEqual({
      app: "web",
      keep: "1",
    });
    expect(readUpdateMask(["labels.constructor"], NETWORK, MUTABLE).labels({}, {})).toEqual({});
  });

  it.each([
    ["prefix", "cannot be changed"],
    ["colour", "is not a field"],
    ["labels.", "is not a field"],
    ["description.first", "is not a field"],
    ["", "is not a field"],
  ])("refuses %j", (path, problem) => {
    expect(() => readUpdateMask([path], NETWORK, MUTABLE)).toThrow(problem);
    expect(() => readUpdateMask([path], NETWORK, MUTABLE)).toThrow("description, labels, default_deny");
  });
});
