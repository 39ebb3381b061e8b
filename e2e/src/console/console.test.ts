/** The web console in Debian's chromium. One cluster, one nginx and one browser for all of it. */
import { afterAll, afterEach, beforeAll } from "vitest";
import { Site } from "./site.js";
import { connectionsTests } from "./tests/connections.js";
import { frameTests } from "./tests/frame.js";
import { ipv6Tests } from "./tests/ipv6.js";
import { portsTests } from "./tests/ports.js";
import { resourcesTests } from "./tests/resources.js";
import { sessionTests } from "./tests/session.js";
import { volumeTests } from "./tests/volume.js";

let site: Site;

beforeAll(async () => {
  site = await Site.open();
});
afterAll(() => site?.close());
afterEach(() => site.afterEach());

sessionTests(() => site);
portsTests(() => site);
connectionsTests(() => site);
resourcesTests(() => site);
ipv6Tests(() => site);
frameTests(() => site);
// Last: what it fills the controller with is listed by every page that opens after it.
volumeTests(() => site);
