import type { Check } from "@slimfast/core";
import { expect, it } from "vitest";
import { remedyOf } from "./missing-features.js";

const fine: Check = { name: "kernel.veth", ok: true, detail: "", remedy: null, required: true };
const wish: Check = { name: "kernel.bpf_jit", ok: false, detail: "off", remedy: "switch it on", required: false };
const missing: Check = { name: "kernel.btf", ok: false, detail: "no such file", remedy: "mount sysfs", required: true };

it("names what is required and missing, and nothing else", () => {
  expect(remedyOf([fine, wish])).toBeNull();
  const remedy = remedyOf([fine, wish, missing]);
  expect(remedy).toContain("kernel.btf: no such file: mount sysfs");
  expect(remedy).not.toContain("jit");
});
