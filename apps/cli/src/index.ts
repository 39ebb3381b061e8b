/** What whole-system tests use of the command line: starting and stopping clusters, what processes take, programs' paths. */
export { kernelBytes, residentBytes } from "./bench/suite/scenarios/scale/memory.js";
export { cgroupMounts } from "./cluster/cgroup.js";
export {
  agentAddress,
  type ClusterPlan,
  controllerAddress,
  DEFAULT_FRONT_PORTS,
  type NodePlan,
  planCluster,
} from "./cluster/plan.js";
export { keeperPids } from "./cluster/processes.js";
export { reviveCluster, startCluster } from "./cluster/start.js";
export { stopCluster } from "./cluster/stop.js";
export { EXIT } from "./exit-codes.js";
export type { SeccompProfile } from "./oci/profile.js";
export { rustProduct } from "./paths.js";
