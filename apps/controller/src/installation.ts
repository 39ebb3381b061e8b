/** What the controller finds beside itself: its version, the console's page. The same from dist/ and from bundle/. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the build puts the console. */
export const DEFAULT_CONSOLE_DIRECTORY = fileURLToPath(new URL("../../web-console/dist", import.meta.url));

export const CONTROLLER_VERSION: string = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }
).version;
