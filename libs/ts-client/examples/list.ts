/** Lists what a cluster consists of. Usage: list ADDRESS */
import { connectController } from "@slimfast/client";

const [address = "unix:/run/slimfast/controller.sock"] = process.argv.slice(2);
const controller = connectController({ address });

for await (const node of controller.listAllNodes()) {
  console.log(`node ${node.name} ${node.underlayAddress} ${node.connected ? "connected" : "gone"}`);
}
// Pages are fetched as the loop comes to them; filters are the server's.
for await (const { name, prefix, prefix6 } of controller.listAllNetworks({ pageSize: 500, filter: "vni > 0" })) {
  console.log(`network ${name} ${[prefix, prefix6].filter((text) => text !== "").join(" ")}`);
}
// IPv6 texts are compared as RFC 5952 writes them.
for await (const { network, name, address6 } of controller.listAllEndpoints({ filter: 'address6 = "fd00:32::*"' })) {
  console.log(`endpoint ${network}/${name} ${address6}`);
}
controller.close();
