/**
 * Real servers and clients, unmodified, in every placement: each one is also run where there is nothing between it and
 * the kernel. The short profile goes through a part of places and tiers, `--full` through all.
 */
import { afterAll, beforeAll, it } from "vitest";
import { Cluster } from "../fixture/cluster.js";
import { NGINX } from "./nginx.js";
import { type App, PLACEMENTS, perform } from "./stage.js";

const APPS: readonly App[] = [NGINX];

/** The longest takes seconds; on a busy machine there are many at a time. */
const TIMEOUT_MS = 240_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
});

afterAll(() => cluster?.stop());

const plays = PLACEMENTS.flatMap((placement) =>
  APPS.map((app) => ({ title: [app.name, placement.where, placement.tier ?? "no tier"].join(", "), placement, app })),
);

it.concurrent.each(plays)("$title", async ({ placement, app }) => perform(cluster, placement, app), TIMEOUT_MS);
