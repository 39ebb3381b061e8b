import { ResourceChange, ResourceKind } from "@slimfast/proto";
import { expect, test } from "vitest";
import { ResourceTable } from "./resource-table.js";

function node(name: string): ResourceChange {
  return ResourceChange.fromPartial({
    kind: ResourceKind.RESOURCE_KIND_NODE,
    name,
    resource: { $case: "node", value: { name } },
  });
}

test("changes add, replace and remove; what is not touched stays the same object", () => {
  const table = new ResourceTable();
  table.apply([node("b"), node("a")], false);
  const before = table.current;
  expect(before.nodes.map(({ name }) => name)).toEqual(["a", "b"]);
  table.apply([ResourceChange.fromPartial({ kind: ResourceKind.RESOURCE_KIND_NODE, name: "a" })], true);
  expect(table.current.nodes.map(({ name }) => name)).toEqual(["b"]);
  expect(table.current.networks).toBe(before.networks);
  expect(table.current.isComplete).toBe(true);
});
