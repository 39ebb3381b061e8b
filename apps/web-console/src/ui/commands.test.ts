import { PolicyAction } from "@slimfast/proto";
import { expect, test } from "vitest";
import * as commands from "./commands.js";

const network = {
  name: "blue",
  prefix: "10.40.0.0/16",
  prefix6: "",
  vni: 0,
  nodeSubnetLength: 0,
  description: "",
  labels: { team: "a" },
  defaultDeny: false,
  egress: [] as string[],
};

test("what goes into a shell stays one word there", () => {
  expect(commands.shellWord("web-1")).toBe("web-1");
  expect(commands.shellWord("a'; rm -rf /")).toBe("'a'\\''; rm -rf /'");
  expect(commands.shellWord("$(id)")).toBe("'$(id)'");
  expect(commands.shellWord("a b")).toBe("'a b'");
});

test("what is still to be written stands for itself", () => {
  const wanted = { name: "", node: "node-1", ports: undefined, lease: "", description: "" };
  expect(commands.reservePorts(wanted)).toBe("slimfast port reserve NAME --node node-1 --ports FIRST-LAST");
  expect(commands.joinNode("", "")).toBe("slimfast node join-command NAME --underlay ADDRESS");
});

test("reservations of given ports and of any", () => {
  const wanted = { name: "backup", node: "node-1", lease: "2h", description: "it's mine" };
  expect(commands.reservePorts({ ...wanted, ports: { first: 9000, count: 4 } })).toBe(
    "slimfast port reserve backup --node node-1 --ports 9000-9003 --lease 2h --description 'it'\\''s mine'",
  );
  expect(commands.reservePorts({ ...wanted, ports: { first: 0, count: 4 } })).toContain("--count 4 --lease");
});

test("an update of a network has what changes, and nothing else", () => {
  const after = { ...network, labels: { team: "b", zone: "x" }, defaultDeny: true, egress: ["192.0.2.0/24"] };
  expect(commands.updateNetwork(network, after)).toBe(
    "slimfast network update blue --label team=b --label zone=x --default-deny --egress 192.0.2.0/24",
  );
  expect(commands.updateNetwork(after, network)).toBe(
    "slimfast network update blue --label team=a --label zone- --no-default-deny --egress none",
  );
});

test("policies with selectors of every kind", () => {
  const policy = {
    name: "no-ssh",
    network: "blue",
    action: PolicyAction.POLICY_ACTION_DENY,
    from: [{ labels: { app: "front" }, prefix: "", endpoint: "" }],
    to: [
      { labels: {}, prefix: "", endpoint: "web" },
      { labels: {}, prefix: "10.40.0.0/24", endpoint: "" },
    ],
    ports: [
      { first: 22, count: 1 },
      { first: 8000, count: 10 },
    ],
    description: "",
  };
  expect(commands.writePolicy("create", policy)).toBe(
    "slimfast policy create no-ssh --network blue --action deny --from app=front --to @web --to 10.40.0.0/24 --port 22,8000-8009",
  );
});
