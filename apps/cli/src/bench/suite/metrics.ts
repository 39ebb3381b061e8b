/** What is measured, in which unit, and which way is better. Pure. */

export interface Metric {
  readonly label: string;
  readonly unit: string;
  readonly better: "higher" | "lower";
}

export const METRICS = {
  perSecond: { label: "operations", unit: "/s", better: "higher" },
  gbitPerSecond: { label: "throughput", unit: "Gbit/s", better: "higher" },
  p50Us: { label: "latency p50", unit: "us", better: "lower" },
  p99Us: { label: "latency p99", unit: "us", better: "lower" },
  p999Us: { label: "latency p99.9", unit: "us", better: "lower" },
  bytesPerConnection: { label: "kernel memory per connection", unit: "B", better: "lower" },
  agentMib: { label: "resident memory of agent and keeper", unit: "MiB", better: "lower" },
  agentKibPerEndpoint: { label: "agent's and keeper's memory per endpoint", unit: "KiB", better: "lower" },
  kernelKibPerEndpoint: { label: "kernel memory per endpoint", unit: "KiB", better: "lower" },
  cpuClientUs: { label: "CPU client", unit: "us/op", better: "lower" },
  cpuServerUs: { label: "CPU server", unit: "us/op", better: "lower" },
  cpuNetworkUs: { label: "CPU agents or routers", unit: "us/op", better: "lower" },
  cpuMachineUs: { label: "CPU whole machine", unit: "us/op", better: "lower" },
  cpuClientMsPerGib: { label: "CPU client", unit: "ms/GiB", better: "lower" },
  cpuServerMsPerGib: { label: "CPU server", unit: "ms/GiB", better: "lower" },
  cpuNetworkMsPerGib: { label: "CPU agents or routers", unit: "ms/GiB", better: "lower" },
  cpuMachineMsPerGib: { label: "CPU whole machine", unit: "ms/GiB", better: "lower" },
} as const satisfies Record<string, Metric>;

export type MetricKey = keyof typeof METRICS;
export type Values = Partial<Record<MetricKey, number>>;

export const METRIC_KEYS = Object.keys(METRICS) as readonly MetricKey[];

/** Three significant digits, whole numbers from 1,000 on with separators. */
export function formatFigure(value: number): string {
  const size = Math.abs(value);
  if (size >= 1_000) return Math.round(value).toLocaleString("en-US");
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}
