import { Role } from "@slimfast/proto";
import { expect, test } from "vitest";
import { refusalFor } from "./roles.js";

test("what a role may not do is refused with the reason", () => {
  const viewer = { role: Role.ROLE_VIEWER, networks: [] };
  expect(refusalFor(viewer, Role.ROLE_VIEWER)).toBeNull();
  expect(refusalFor(viewer, Role.ROLE_OPERATOR)).toBe("it needs the role operator, and yours is viewer");
  expect(refusalFor({ role: Role.ROLE_ADMIN, networks: [] }, Role.ROLE_OPERATOR)).toBeNull();
  // A join token is not above an administrator.
  expect(refusalFor({ role: Role.ROLE_JOIN, networks: [] }, Role.ROLE_VIEWER)).toContain("yours is join");
});

test("a token of some networks reaches these, and nothing that belongs to none", () => {
  const scoped = { role: Role.ROLE_OPERATOR, networks: ["blue"] };
  expect(refusalFor(scoped, Role.ROLE_OPERATOR, "blue")).toBeNull();
  expect(refusalFor(scoped, Role.ROLE_OPERATOR, "red")).toBe("your token is for the network blue only");
  expect(refusalFor(scoped, Role.ROLE_OPERATOR)).toBe("your token is for the network blue only");
});
