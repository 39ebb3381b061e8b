/**
 * The agent beside a controller of the protocol's version before (1: nodes, networks, endpoints): it names no store and no
 * controllers, and has no reports.
 */
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, expect, it } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create(false);
  bed.controller.storeId = "";
  const unimplemented = "The server does not implement the method /slimfast.v1.AgentService/Report";
  bed.controller.faults.failAll("report", new ServerError(Status.UNIMPLEMENTED, unimplemented));
  await bed.controller.start();
});
afterEach(() => bed.remove());

it("registers, attaches and detaches endpoints, and goes on when the stream has broken", async () => {
  await bed.startAgent();
  const { local } = bed.connect();
  await local.attachEndpoint(attachment("web"));
  expect(await local.getStatus({})).toMatchObject({ controllerConnected: true, attachedEndpoints: 1 });
  expect(bed.controller.stream?.acks.every(({ error }) => error === "")).toBe(true);

  bed.controller.stream?.end();
  await eventually(() => expect(bed.controller.streams).toHaveLength(2));
  await local.attachEndpoint(attachment("db"));
  expect(await local.getStatus({})).toMatchObject({ controllerConnected: true, attachedEndpoints: 2 });
  expect([...bed.controller.endpoints.keys()]).toEqual(["blue/web", "blue/db"]);

  await local.detachEndpoint({ network: "blue", name: "web" });
  await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual(["blue/db"]));
  expect(await local.getStatus({})).toMatchObject({ controllerConnected: true, attachedEndpoints: 1 });
});
