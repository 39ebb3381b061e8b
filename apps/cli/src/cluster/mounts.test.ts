import { expect, it } from "vitest";
import { mounts, mountsBelow } from "./mounts.js";

it("finds what is mounted below a directory, the last one first", () => {
  const text =
    "bpf /run/a/bpf bpf rw 0 0\ntmpfs /run/a/bpf/x tmpfs rw 0 0\nbpf /run/ab/bpf bpf rw 0 0\nx /run/a tmpfs rw 0 0\n";
  expect(mountsBelow("/run/a", mounts(text))).toEqual(["/run/a/bpf/x", "/run/a/bpf"]);
});
