import { expect, it } from "vitest";
import { parsePublishedPort } from "./publish.js";

it("reads HOST:PORT", () => {
  expect(parsePublishedPort("8080:80")).toEqual({ hostPort: 8080, endpointPort: 80 });
});

it.each(["8080", "0:80", "80:0", "65536:1", "a:b", "1:2:3", ""])("refuses %j", (text) => {
  expect(() => parsePublishedPort(text)).toThrow(/--publish/);
});
