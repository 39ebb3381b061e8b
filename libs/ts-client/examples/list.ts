/** Lists what a cluster consists of. Usage: list ADDRESS */
import { connectController } from "@slimfast/client";

const [address = "unix:/run/slimfast/controller.sock"] = process.argv.slice(2);
const controller = connectController({ address });

for await (const node of controller.listAllNodes()) {
  console.log(`node ${node.name} ${node.underlayAddress} ${node.connected ? "connected" : "gone"}`);
}
// Pages are fetched as the loop comes to them; filters are the server's.
for await (const network of controller.listAllNetworks({ pageSize: 500, filter: 'prefix != ""' })) {
  console.log(`network ${network.name} ${network.prefix}`);
}
controller.close();
