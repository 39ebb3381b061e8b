/** Tries a policy, creates it, changes it by its etag, and deletes it. Usage: policy ADDRESS NETWORK */
import { connectController, SlimFastError } from "@slimfast/client";
import { PolicyAction } from "@slimfast/proto";

const [address = "unix:/run/slimfast/controller.sock", network = "default"] = process.argv.slice(2);
const { cluster, operations, close } = connectController({ address });

const policy = {
  network,
  name: "example",
  action: PolicyAction.POLICY_ACTION_DENY,
  from: [{ labels: { app: "example-front" } }],
  to: [{ labels: { app: "example-back" } }],
  ports: [{ first: 80, count: 1 }],
};
const trial = await operations.tryPolicy({ policy });
console.log(`${trial.newlyDenied} of ${trial.tried} connections would be denied`);

// Repeated by itself while the controller is away: the client gives it a request id.
const created = (await cluster.createPolicy({ policy })).policy;
const changed = (
  await cluster.updatePolicy({
    policy: { network, name: "example", description: "changed", etag: created?.etag ?? "" },
    updateMask: ["description"],
  })
).policy;
console.log(`changed: ${changed?.description}`);
try {
  await cluster.deletePolicy({ network, name: "example", etag: created?.etag ?? "" });
} catch (error) {
  if (!(error instanceof SlimFastError)) throw error;
  console.log(`refused: ${error.code}: ${error.remedy}`);
}
await cluster.deletePolicy({ network, name: "example", etag: changed?.etag ?? "" });
console.log("deleted");
close();
