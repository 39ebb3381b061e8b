/** Follows networks: what exists, then every change, whatever happens to the connection. Usage: watch ADDRESS [CHANGES] */
import { connectController } from "@slimfast/client";
import { ResourceKind } from "@slimfast/proto";

const [address = "unix:/run/slimfast/controller.sock", changes = "Infinity"] = process.argv.slice(2);
const controller = connectController({ address });
const ending = new AbortController();
process.once("SIGINT", () => ending.abort());

let left = Number(changes);
const kinds = [ResourceKind.RESOURCE_KIND_NETWORK];
for await (const event of controller.watchResources({ kinds, signal: ending.signal })) {
  if (event.type === "synced") console.log(`everything up to revision ${event.revision} is reported`);
  else if (event.type === "interrupted") console.log(`interrupted (${event.error.code}); it goes on by itself`);
  else {
    console.log(`${event.type} ${event.name}`);
    left -= 1;
    if (left <= 0) break;
  }
}
controller.close();
