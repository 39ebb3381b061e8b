/** Follows the connections of a cluster, and says what was lost. Usage: tail ADDRESS [FILTER] */
import { connectController, SlimFastError } from "@slimfast/client";

const [address = "unix:/run/slimfast/controller.sock", filter = ""] = process.argv.slice(2);
const controller = connectController({ address });
const ending = new AbortController();
process.once("SIGINT", () => ending.abort());
process.once("SIGTERM", () => ending.abort());

console.log("following");
try {
  for await (const item of controller.tailConnections({ filter, signal: ending.signal })) {
    switch (item.type) {
      case "event":
        console.log(`${item.record.id} ${item.record.connection?.endpoint} ${item.record.error}`);
        break;
      case "lost":
        console.log(`${item.count} events lost`);
        break;
      case "resumed":
        console.log(`nothing is known of ${item.lostFrom.toISOString()} to ${item.lostTo.toISOString()}`);
        break;
    }
  }
} catch (error) {
  if (!(error instanceof SlimFastError && error.code === "cancelled")) throw error;
  console.log("ended");
}
controller.close();
