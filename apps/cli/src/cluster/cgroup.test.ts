import { expect, it } from "vitest";
import { cgroup2Mount } from "./cgroup.js";

it("finds cgroup v2 beside v1", () => {
  const mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
  expect(cgroup2Mount(mounts)).toBe("/sys/fs/cgroup/unified");
});

it("decodes blanks, and says when there is none", () => {
  expect(cgroup2Mount("none /a\\040b cgroup2 rw 0 0\n")).toBe("/a b");
  expect(cgroup2Mount("proc /proc proc rw 0 0\n")).toBeNull();
});
