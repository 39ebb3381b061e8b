/** The filters in docs/api.md are filters. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { messageType } from "../descriptors.js";
import { filterOf } from "./filter.js";

const page = readFileSync(new URL("../../../../../docs/api.md", import.meta.url), "utf8");
const [, section = ""] = /^## Filters\n([\s\S]*?)^## /m.exec(page) ?? [];
const filters = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, filter = ""]) => filter);

describe("docs/api.md", () => {
  it("has examples of filters", () => {
    expect(filters.length).toBeGreaterThan(8);
  });

  it.each(filters)("%s is a filter of some resource", (filter) => {
    const understood = ["Endpoint", "Node", "Network", "PortReservation"].filter((type) => {
      try {
        filterOf(messageType(type), filter)({});
        return true;
      } catch {
        return false;
      }
    });
    expect(understood).not.toEqual([]);
  });
});
