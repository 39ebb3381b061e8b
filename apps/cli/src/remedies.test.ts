import { SlimFastError } from "@slimfast/client";
import { expect, it } from "vitest";
import { CliError } from "./exit-codes.js";
import { remedyFor } from "./remedies.js";

function failure(code: "not_found" | "already_exists", type: string): SlimFastError {
  return new SlimFastError(code, "", { details: { resources: [{ type, name: "", owner: "", description: "" }] } });
}

it("keeps what the command itself advises", () => {
  expect(remedyFor(new CliError("failed", "", { remedy: "do this" }))).toBe("do this");
  expect(remedyFor(new CliError("failed", ""))).toBeNull();
});

it("leads from a network that does not exist to those that do", () => {
  expect(remedyFor(failure("not_found", "network"))).toContain("slimfast network create");
});

it("offers a way around what is taken", () => {
  expect(remedyFor(failure("already_exists", "host"))).toContain("choose another port");
  expect(remedyFor(failure("already_exists", "port"))).toContain("choose another port");
  expect(remedyFor(failure("already_exists", "endpoint"))).toContain("choose another name");
});

it("has nothing to say about other failures", () => {
  expect(remedyFor(new SlimFastError("invalid_argument", ""))).toBeNull();
  expect(remedyFor(new Error())).toBeNull();
});
