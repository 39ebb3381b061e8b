/** The fields of the line that a call leaves in the log. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
});
afterEach(() => bed.remove());

it("has method, code, duration and actor", async () => {
  await bed.startAgent();
  const { local } = bed.connect();
  await local.getStatus({});
  await local.attachEndpoint(attachment("Wrong Name")).catch(() => undefined);
  const calls = () => bed.log.filter(({ msg }) => msg === "call");
  await eventually(() => expect(calls()).toHaveLength(2));
  const service = "slimfast.v1.LocalService";
  expect(calls()).toMatchObject([
    { level: 20, service, method: "GetStatus", code: "OK", durationMs: expect.any(Number), actor: "local" },
    { service, method: "AttachEndpoint", code: expect.not.stringMatching("OK") },
  ]);
});
