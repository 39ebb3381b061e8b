/**
 * The seccomp profile of an OCI container whose TCP sockets are host sockets: our rules merged into a profile that is
 * there already, never in place of it. What a rule of ours decides for a call is what `slimfast-launch` installs itself:
 *
 * - socket(AF_INET or AF_INET6, SOCK_STREAM, 0 or IPPROTO_TCP) goes to the agent (SCMP_ACT_NOTIFY);
 * - the same with IPPROTO_MPTCP fails with EPROTONOSUPPORT, on which runtimes that prefer MPTCP fall back to TCP;
 * - io_uring fails with EPERM, because seccomp does not see its way of making sockets;
 * - ioctl(2) about interfaces, routes and namespaces (0x89..) goes to the agent, which refuses it on host sockets.
 *
 * Rules for one call must not overlap: libseccomp lets an unconditional one swallow all others. So the base profile's
 * rules for socket(2) are taken out, and what they allow besides TCP is allowed again, family by family.
 *
 * 32-bit x86 is taken out of the architectures: its socketcall(2) hides socket(2)'s arguments in memory, for which
 * libseccomp makes rules that contradict each other, and refuses the profile (EEXIST). i386 programs are killed then.
 */
import { constants } from "node:os";

export type Operator =
  | "SCMP_CMP_NE"
  | "SCMP_CMP_LT"
  | "SCMP_CMP_LE"
  | "SCMP_CMP_EQ"
  | "SCMP_CMP_GE"
  | "SCMP_CMP_GT"
  | "SCMP_CMP_MASKED_EQ";

export interface ArgumentRule {
  readonly index: number;
  /** The mask for SCMP_CMP_MASKED_EQ, else what is compared with. */
  readonly value: number;
  /** What the masked argument is compared with, for SCMP_CMP_MASKED_EQ. */
  readonly valueTwo?: number;
  readonly op: Operator;
}

export interface CallRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly ArgumentRule[];
}

/** `linux.seccomp` of the OCI runtime specification, the part that is used. */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls: readonly CallRule[];
}

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_TYPE_MASK = 0xf;
const IPPROTO_TCP = 6;
const IPPROTO_SCTP = 132;
const IPPROTO_MPTCP = 262;
const INET_FAMILIES = [AF_INET, AF_INET6] as const;
/** SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP, SOCK_PACKET. */
const OTHER_TYPES = [2, 3, 4, 5, 6, 10] as const;
/** AF_MCTP, the highest family that Linux has. */
const MAX_FAMILY = 45;
const IO_URING = ["io_uring_setup", "io_uring_enter", "io_uring_register"] as const;
const WITH_SOCKETCALL: ReadonlySet<string> = new Set(["SCMP_ARCH_X86"]);
const OURS: ReadonlySet<string> = new Set(["socket", "ioctl", ...IO_URING]);

/**
 * `base` with our rules.
 *
 * @param listenerPath the agent's socket, from its status
 * @param listenerMetadata from AttachEndpoint; tells the agent whose sockets these are
 */
export function mergeProfile(base: SeccompProfile, listenerPath: string, listenerMetadata: string): SeccompProfile {
  const others = base.syscalls
    .map((rule) => ({ ...rule, names: rule.names.filter((name) => !OURS.has(name)) }))
    .filter((rule) => rule.names.length > 0);
  return {
    ...base,
    ...(base.architectures && { architectures: base.architectures.filter((name) => !WITH_SOCKETCALL.has(name)) }),
    listenerPath,
    listenerMetadata,
    syscalls: [...others, ...ourRules(), ...otherSockets(base), ...ioctlRules(base)],
  };
}

function ourRules(): CallRule[] {
  const { EPERM, EPROTONOSUPPORT } = constants.errno;
  return [
    { names: IO_URING, action: "SCMP_ACT_ERRNO", errnoRet: EPERM },
    ...INET_FAMILIES.flatMap((family): CallRule[] => [
      { names: ["socket"], action: "SCMP_ACT_NOTIFY", args: stream(family, 0) },
      { names: ["socket"], action: "SCMP_ACT_NOTIFY", args: stream(family, IPPROTO_TCP) },
      {
        names: ["socket"],
        action: "SCMP_ACT_ERRNO",
        errnoRet: EPROTONOSUPPORT,
        args: stream(family, IPPROTO_MPTCP),
      },
    ]),
  ];
}

/** What `base` allows of socket(2) besides TCP. Nothing is needed where everything is allowed that no rule names. */
function otherSockets(base: SeccompProfile): CallRule[] {
  const rules = base.syscalls.filter((rule) => rule.names.includes("socket"));
  if (base.defaultAction === "SCMP_ACT_ALLOW" && rules.length === 0) return [];
  const allowed: CallRule[] = [];
  const allow = (call: readonly number[], args: readonly ArgumentRule[]) => {
    if (verdict(base.defaultAction, rules, call) === "SCMP_ACT_ALLOW") {
      allowed.push({ names: ["socket"], action: "SCMP_ACT_ALLOW", args });
    }
  };
  for (let family = 0; family <= MAX_FAMILY; family += 1) {
    if (family === AF_INET || family === AF_INET6) continue;
    allow([family, SOCK_STREAM, 0], [{ index: 0, value: family, op: "SCMP_CMP_EQ" }]);
  }
  for (const family of INET_FAMILIES) {
    for (const type of OTHER_TYPES) {
      allow([family, type, 0], [{ index: 0, value: family, op: "SCMP_CMP_EQ" }, typeIs(type)]);
    }
    allow([family, SOCK_STREAM, IPPROTO_SCTP], stream(family, IPPROTO_SCTP));
  }
  return allowed;
}

/** The second byte of the ioctls of sockets. */
const IOCTL_OF_SOCKETS = 0x8900;
/** FIOSETOWN to SIOCGSTAMPNS, with and without 64 bits, and SIOCOUTQNSD: about the socket itself. */
const IOCTL_ABOUT_ITSELF: readonly Masked[] = [
  { mask: 0xffff, value: 0x8901 },
  { mask: 0xfffe, value: 0x8902 },
  { mask: 0xfffc, value: 0x8904 },
  { mask: 0xffff, value: 0x894b },
];
/** What else begins with 0x89. */
const IOCTL_OF_INTERFACES: readonly Masked[] = [
  { mask: 0xffff, value: 0x8900 },
  { mask: 0xfff8, value: 0x8908 },
  ...[1, 2, 3, 5, 6, 7].map((digit) => ({ mask: 0xfff0, value: IOCTL_OF_SOCKETS + 16 * digit })),
  { mask: 0xfff8, value: 0x8940 },
  { mask: 0xfffe, value: 0x8948 },
  { mask: 0xffff, value: 0x894a },
  { mask: 0xfffc, value: 0x894c },
  { mask: 0xff80, value: 0x8980 },
];

interface Masked {
  readonly mask: number;
  readonly value: number;
}

/** Every command is in one rule and no more, since rules must not overlap. Only the lower 16 bits tell them apart. */
function ioctlRules(base: SeccompProfile): CallRule[] {
  const rule = (action: string, { mask, value }: Masked): CallRule => ({
    names: ["ioctl"],
    action,
    args: [{ index: 1, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" }],
  });
  const notified = IOCTL_OF_INTERFACES.map((masked) => rule("SCMP_ACT_NOTIFY", masked));
  const rules = base.syscalls.filter((call) => call.names.includes("ioctl"));
  if (base.defaultAction === "SCMP_ACT_ALLOW" && rules.length === 0) return notified;
  const others = [...IOCTL_ABOUT_ITSELF, ...otherSecondBytes()];
  const isAllowed = ({ value }: Masked) => verdict(base.defaultAction, rules, [0, value]) === "SCMP_ACT_ALLOW";
  return [...notified, ...others.filter(isAllowed).map((masked) => rule("SCMP_ACT_ALLOW", masked))];
}

/** All second bytes but 0x89: by the first bit that is different. */
function otherSecondBytes(): Masked[] {
  return Array.from({ length: 8 }, (_, index) => {
    const bit = 0x8000 >> index;
    const above = 0xffff & ~(2 * bit - 1);
    return { mask: above | bit, value: (IOCTL_OF_SOCKETS & above) | (~IOCTL_OF_SOCKETS & bit) };
  });
}

function stream(family: number, protocol: number): ArgumentRule[] {
  return [
    { index: 0, value: family, op: "SCMP_CMP_EQ" },
    typeIs(SOCK_STREAM),
    { index: 2, value: protocol, op: "SCMP_CMP_EQ" },
  ];
}

function typeIs(type: number): ArgumentRule {
  return { index: 1, value: SOCK_TYPE_MASK, valueTwo: type, op: "SCMP_CMP_MASKED_EQ" };
}

/** The action of the first rule that fits the call. */
function verdict(defaultAction: string, rules: readonly CallRule[], call: readonly number[]): string {
  const fitting = rules.find((rule) => (rule.args ?? []).every((argument) => fits(argument, call)));
  return fitting?.action ?? defaultAction;
}

function fits({ index, value, valueTwo, op }: ArgumentRule, call: readonly number[]): boolean {
  const argument = call[index] ?? 0;
  switch (op) {
    case "SCMP_CMP_NE":
      return argument !== value;
    case "SCMP_CMP_LT":
      return argument < value;
    case "SCMP_CMP_LE":
      return argument <= value;
    case "SCMP_CMP_EQ":
      return argument === value;
    case "SCMP_CMP_GE":
      return argument >= value;
    case "SCMP_CMP_GT":
      return argument > value;
    case "SCMP_CMP_MASKED_EQ":
      return (argument & value) === valueTwo;
  }
}
