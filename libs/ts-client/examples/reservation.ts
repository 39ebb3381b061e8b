/** Reserves host ports for an hour, and shows what a conflict says. Usage: reservation ADDRESS NODE */
import { connectController, SlimFastError } from "@slimfast/client";

const [address = "unix:/run/slimfast/controller.sock", node = "node-1"] = process.argv.slice(2);
const { cluster, close } = connectController({ address });

const { portReservation } = await cluster.createPortReservation({
  portReservation: { name: "example", node, ports: { first: 0, count: 10 }, description: "ten ports, wherever" },
  lease: { seconds: 3_600n, nanos: 0 },
});
const ports = portReservation?.ports;
console.log(`reserved ${ports?.count} ports until ${portReservation?.expireTime ? "its lease ends" : "released"}`);
try {
  await cluster.createPortReservation({
    portReservation: { name: "example-2", node, ...(ports ? { ports } : {}) },
  });
} catch (error) {
  if (!(error instanceof SlimFastError)) throw error;
  console.log(`conflict: ${error.code}, held by ${error.resource?.owner}`);
}
await cluster.deletePortReservation({ name: "example" });
console.log("released");
close();
