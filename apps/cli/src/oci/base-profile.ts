import type { SeccompProfile } from "./profile.js";

/** Where there is no engine to take a default profile from: denies what every engine denies. */
export const BASE_PROFILE: SeccompProfile = {
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [
    {
      names: ["bpf", "init_module", "finit_module", "delete_module", "kexec_load", "mount", "umount2", "pivot_root"],
      action: "SCMP_ACT_ERRNO",
      errnoRet: 1,
    },
    {
      names: ["ptrace", "process_vm_readv", "process_vm_writev", "unshare", "setns"],
      action: "SCMP_ACT_ERRNO",
      errnoRet: 1,
    },
  ],
};
