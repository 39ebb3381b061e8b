/** The programs of e2e/programs/apps: servers and clients of runtimes that bring none of their own. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const APPS = resolve(fileURLToPath(import.meta.url), "../../../programs/apps");
const BUILT = resolve(APPS, "../bin");

/** Command that runs a script. */
export function appProgram(
  name: "memcached.py" | "connections.py" | "servers.py" | "cluster.mjs" | "grpc.mjs",
): string[] {
  const interpreter = name.endsWith(".mjs") ? [process.execPath] : ["python3", "-B"];
  return [...interpreter, resolve(APPS, name)];
}

/** Command of the Go program, which build.sh makes. */
export const HTTP_GO: readonly string[] = [resolve(BUILT, "http-go")];

/** Command of the Java program. It is small: neither a second compiler nor many threads would be of use. Without /tmp/hsperfdata_USER. */
export const SERVERS_JAVA: readonly string[] = [
  "java",
  "-XX:TieredStopAtLevel=1",
  "-Xshare:auto",
  "-XX:-UsePerfData",
  "-cp",
  BUILT,
  "Servers",
];
