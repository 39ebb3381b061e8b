/**
 * stolen.mjs ADDRESS IDENTITY OTHER: what the key and certificate of a node (its identity.pem) are good for at the controller, by
 * somebody who wants to be another node, or more. OTHER: JSON, that node as it is. Prints for each attempt {"what", "error"}, null if it
 * was achieved.
 */
import { readFileSync } from "node:fs";
import { connectController } from "@slimfast/client";

const [address, identity, node] = process.argv.slice(2);
const other = JSON.parse(node);
const blocks = readFileSync(identity, "utf8").match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----\n?/g) ?? [];
const key = blocks.find((block) => block.includes("PRIVATE KEY"));
const [cert, ...authorities] = blocks.filter((block) => block.includes("BEGIN CERTIFICATE"));
const client = connectController({ address, tls: { ca: authorities.join(""), cert, key } });
const { cluster, access, agent } = client;

const CALLS = [
  ["list tokens", () => access.listTokens({})],
  ["create a network", () => cluster.createNetwork({ network: { name: "taken", prefix: "10.62.0.0/16" } })],
  ["delete the other node", () => cluster.deleteNode({ name: other.name })],
  // Where it is: another place is refused to whoever asks, while the node's agent is connected.
  ["register as the other node", () => agent.registerNode({ node: { ...other, labels: { taken: "yes" } } })],
  [
    "create an endpoint of the other node",
    () => agent.createEndpoint({ endpoint: { name: "taken", network: "default", node: other.name } }),
  ],
];
for (const [what, call] of CALLS) {
  const error = await call().then(
    () => null,
    (thrown) => thrown.code ?? String(thrown),
  );
  console.log(JSON.stringify({ what, error }));
}
client.close();
