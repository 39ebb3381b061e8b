import { expect, it } from "vitest";
import { DEFAULT_RUN_DIR } from "../paths.js";
import { runDirTag } from "./plan.js";
import { namespacesOf } from "./strays.js";

it("tells a cluster's namespaces from those of others", () => {
  const own = ["sf-node-1", "sf-node-12-default-web", "sf-wire", "sfr-node-1-1"];
  const others = ["blue", "node-1", "sf-1a2b-node-1", "sf-node-x", "sfr-1a2b-node-1-1"];
  expect(namespacesOf(DEFAULT_RUN_DIR, [...others, ...own])).toEqual(own);

  const runDir = "/run/other";
  const tagged = `sf-${runDirTag(runDir)}node-1`;
  expect(namespacesOf(runDir, [...own, tagged])).toEqual([tagged]);
});
