/**
 * Real servers and clients, unmodified, in one container, on one node and on two, by IPv4 and IPv6. The short profile goes through a part
 * of places and tiers for each, `--full` through all.
 */
import { afterAll, beforeAll, it } from "vitest";
import { Cluster } from "../fixture/cluster.js";
import { GO_HTTP } from "./go-http.js";
import { GRPC } from "./grpc.js";
import { JAVA } from "./java.js";
import { MEMCACHED } from "./memcached.js";
import { NGINX } from "./nginx.js";
import { NODE_CLUSTER } from "./node-cluster.js";
import { POSTGRES, removeDatabaseTemplate } from "./postgres.js";
import { PROXIED } from "./proxy.js";
import { PYTHON } from "./python.js";
import { REDIS } from "./redis.js";
import { type App, IPV6_NETWORK, perform, placementsOf } from "./stage.js";
import { TLS } from "./tls.js";

const APPS: readonly App[] = [
  NGINX,
  PROXIED,
  TLS,
  MEMCACHED,
  REDIS,
  POSTGRES,
  NODE_CLUSTER,
  GRPC,
  GO_HTTP,
  JAVA,
  PYTHON,
];

/** The longest takes seconds; on a busy machine there are many at a time. */
const TIMEOUT_MS = 240_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", IPV6_NETWORK, "--prefix6", "fd00:a::/64");
});

afterAll(async () => {
  removeDatabaseTemplate();
  await cluster?.stop();
});

const plays = APPS.flatMap((app, index) =>
  placementsOf(index).map((placement) => ({
    title: [app.name, placement.where, placement.tier ?? "as it is", placement.network].join(", "),
    placement,
    app,
  })),
);

it.concurrent.each(plays)("$title", async ({ placement, app }) => perform(cluster, placement, app), TIMEOUT_MS);
