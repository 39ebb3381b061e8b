import { SlimFastError } from "@slimfast/client";
import { CoreError } from "@slimfast/core";
import { Status } from "nice-grpc";
import { describe, expect, it } from "vitest";
import { statusOf } from "./edge.js";
import { invalidArgument, messageOf, toSlimFastError } from "./errors.js";

describe("the core's failures", () => {
  it.each([
    ["invalid", "invalid_argument"],
    ["unsupported", "failed_precondition"],
    ["conflict", "already_exists"],
    ["not_found", "not_found"],
    ["system", "internal"],
    ["closed", "unavailable"],
  ] as const)("of kind %s are %s", (kind, code) => {
    const cause = new CoreError(kind, "so it is");
    expect(toSlimFastError(cause)).toMatchObject({ code, message: "so it is", cause });
  });

  it("name the field, or who is in the way", () => {
    expect(toSlimFastError(new CoreError("invalid", "address: is odd", { field: "address" })).details).toMatchObject({
      fieldViolations: [{ field: "address", description: "address: is odd" }],
    });
    expect(
      toSlimFastError(new CoreError("conflict", "port is taken", { holder: "nginx (pid 7)" })).details,
    ).toMatchObject({
      resources: [{ type: "host", owner: "nginx (pid 7)", description: "port is taken" }],
    });
  });
});

describe("other failures", () => {
  it("of the client library pass as they are", () => {
    const error = invalidArgument("name", "is odd");
    expect(toSlimFastError(error)).toBe(error);
  });

  it("are cancellations, or bugs of ours", () => {
    const abort = new DOMException("aborted", "AbortError");
    expect(toSlimFastError(abort).code).toBe("cancelled");
    expect(toSlimFastError(new TypeError("x is undefined"))).toMatchObject({
      code: "internal",
      message: "x is undefined",
    });
    expect(toSlimFastError("text")).toMatchObject({ code: "internal", message: "text" });
    expect(messageOf(undefined)).toBe("undefined");
  });
});

describe("at the edge", () => {
  it("code, message and all details become a gRPC status", () => {
    const error = new SlimFastError("failed_precondition", "not now", {
      details: {
        fieldViolations: [{ field: "network", description: "is odd" }],
        resources: [{ type: "network", name: "blue", owner: "", description: "is busy" }],
        preconditionViolations: [{ type: "NETWORK_NOT_EMPTY", subject: "network/blue", description: "" }],
      },
    });
    expect(statusOf(error)).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      details: "not now",
      extra: [
        { $type: "google.rpc.BadRequest", fieldViolations: [{ field: "network", description: "is odd" }] },
        { $type: "google.rpc.ResourceInfo", resourceType: "network", resourceName: "blue", description: "is busy" },
        {
          $type: "google.rpc.PreconditionFailure",
          violations: [{ type: "NETWORK_NOT_EMPTY", subject: "network/blue" }],
        },
      ],
    });
  });

  it("nothing is added where nothing was said", () => {
    expect(statusOf(new SlimFastError("data_loss", "gone"))).toMatchObject({ code: Status.DATA_LOSS, extra: [] });
  });
});
