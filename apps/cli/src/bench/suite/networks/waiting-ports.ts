/**
 * Several loads close their connections first (redis-benchmark does), so that each leaves its port in TIME_WAIT for a minute
 * on the client's side. Thousands of them make connect(2) go through thousands of ports until it finds a free one, and the
 * round measures how many connections the rounds before it have made. With this setting, as load generators usually run, a
 * port can be had again after a second. It is the same in every namespace that clients run in.
 */
import { exec } from "../../../process/exec.js";

export async function reuseWaitingPorts(netns: string): Promise<void> {
  await exec("sysctl", ["-q", "-w", "net.ipv4.tcp_tw_reuse=1"], { netns });
}
