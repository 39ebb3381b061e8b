/** Every scenario, in the order in which they run. */
import { ACCEPT, BULK, CONNECT, CRR, IDLE, RR } from "./connections.js";
import { GRPC } from "./grpc.js";
import { MEMCACHED } from "./memcached.js";
import { NGINX_PROXY, NGINX_STATIC } from "./nginx.js";
import { PGBENCH } from "./pgbench.js";
import { REDIS } from "./redis.js";
import { SCALE_CONNECTIONS, SCALE_ENDPOINTS, SCALE_TABLE } from "./scale/scale.js";
import type { Scenario } from "./scenario.js";
import { TLS } from "./tls.js";

export const SCENARIOS: readonly Scenario[] = [
  CONNECT,
  CRR,
  ACCEPT,
  IDLE,
  RR,
  BULK,
  NGINX_PROXY,
  NGINX_STATIC,
  MEMCACHED,
  REDIS,
  PGBENCH,
  GRPC,
  TLS,
  SCALE_CONNECTIONS,
  SCALE_ENDPOINTS,
  // Last: what fills the table stays in it.
  SCALE_TABLE,
];
