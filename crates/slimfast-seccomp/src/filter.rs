//! The seccomp filter of an endpoint's processes, as a list of classic BPF instructions. Pure: installing it is
//! [`crate::install`]'s job.
//!
//! The filter decides which calls the supervisor answers. It is no sandbox, and no decision about where a
//! connection may go depends on it; the BPF hooks take those on the kernel's own copy of the arguments.
//!
//! | call | verdict |
//! | --- | --- |
//! | `socket(AF_INET or AF_INET6, SOCK_STREAM, 0 or IPPROTO_TCP)` | `USER_NOTIF`: the supervisor injects a host socket |
//! | the same with IPPROTO_MPTCP | `EPROTONOSUPPORT`, on which runtimes that prefer MPTCP (Go) fall back to TCP |
//! | `io_uring_setup`, `_enter`, `_register`, in every ABI | `EPERM`: seccomp does not see IORING_OP_SOCKET |
//! | `ioctl` about interfaces, routes and namespaces (0x89..) | `USER_NOTIF`: refused on host sockets, done for the others |
//! | the same through a foreign ABI | `EPERM` |
//! | anything else through a foreign ABI (i386, x32, 32-bit Arm) | allowed: it makes sockets of the container's own namespace |
//! | everything else | allowed |
//!
//! Only the low halves of the arguments are looked at, since the kernel itself takes them as `int`.

pub mod verdict;

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub k: u32,
}

/// What is native on a machine: the ABI whose socket(2) the supervisor answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeAbi {
    /// `AUDIT_ARCH_*`.
    pub audit_arch: u32,
    /// Number of socket(2).
    pub nr_socket: u32,
    /// Number of ioctl(2).
    pub nr_ioctl: u32,
}

pub const X86_64: NativeAbi = NativeAbi { audit_arch: 0xc000_003e, nr_socket: 41, nr_ioctl: 16 };
pub const AARCH64: NativeAbi = NativeAbi { audit_arch: 0xc000_00b7, nr_socket: 198, nr_ioctl: 29 };
/// Number of ioctl(2) on i386 and 32-bit Arm, and on x32.
pub const NR_IOCTL_32: u32 = 54;
pub const NR_IOCTL_X32: u32 = 514 | X32_SYSCALL_BIT;

/// Second byte of the ioctls of sockets (include/uapi/linux/sockios.h).
const IOCTL_OF_SOCKETS: u32 = 0x8900;
const IOCTL_TYPE_MASK: u32 = 0xff00;
/// FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP, SIOCATMARK, SIOCGSTAMP, SIOCGSTAMPNS: about the socket itself.
const IOCTL_FIRST_ALLOWED: u32 = 0x8901;
const IOCTL_LAST_ALLOWED: u32 = 0x8907;
/// SIOCOUTQNSD, and the time stamps of 64 bits.
const IOCTL_OUTQ_NOT_SENT: u32 = 0x894b;
const IOCTL_STAMP: u32 = 0x8010_8906;
const IOCTL_STAMP_NS: u32 = 0x8010_8907;

/// The ABI that this program was built for.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: NativeAbi = X86_64;
#[cfg(target_arch = "aarch64")]
pub const NATIVE: NativeAbi = AARCH64;

/// Set in the number of an x32 call, whose `arch` is that of x86_64.
pub const X32_SYSCALL_BIT: u32 = 0x4000_0000;
/// io_uring's calls came after numbers were unified: they are the same in every ABI.
pub const NR_IO_URING_SETUP: u32 = 425;
pub const NR_IO_URING_REGISTER: u32 = 427;

/// Low bits of socket(2)'s `type` that are the type proper; the rest are flags.
pub const SOCK_TYPE_MASK: u32 = 0xf;
pub const IPPROTO_MPTCP: u32 = 262;

pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
pub const RET_ERRNO: u32 = 0x0005_0000;
pub const RET_ALLOW: u32 = 0x7fff_0000;

// Offsets in the kernel's `struct seccomp_data`. Arguments are 64 bits wide; on a little-endian machine the low half
// is first.
const AT_NR: u32 = 0;
const AT_ARCH: u32 = 4;
const fn at_argument(index: u32) -> u32 {
    16 + 8 * index
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

/// Jumps from instruction `here` to `yes` or `no`, all three being indices in the program.
const fn branch(here: usize, code: u16, k: u32, yes: usize, no: usize) -> Instruction {
    Instruction { code, jump_true: (yes - here - 1) as u8, jump_false: (no - here - 1) as u8, k }
}

/// Number of instructions of [`program`].
pub const LENGTH: usize = 45;

/// Instructions of [`ioctl`].
const IOCTL_LENGTH: usize = 9;

/// Looks at ioctl(2)'s command, from instruction `here` on.
const fn ioctl(here: usize, caught: usize, allow: usize) -> [Instruction; IOCTL_LENGTH] {
    [
        statement(LOAD, at_argument(1)),
        branch(here + 1, JUMP_EQUAL, IOCTL_OUTQ_NOT_SENT, allow, here + 2),
        branch(here + 2, JUMP_EQUAL, IOCTL_STAMP, allow, here + 3),
        branch(here + 3, JUMP_EQUAL, IOCTL_STAMP_NS, allow, here + 4),
        statement(AND, IOCTL_TYPE_MASK),
        branch(here + 5, JUMP_EQUAL, IOCTL_OF_SOCKETS, here + 6, allow),
        statement(LOAD, at_argument(1)),
        branch(here + 7, JUMP_AT_LEAST, IOCTL_FIRST_ALLOWED, here + 8, caught),
        branch(here + 8, JUMP_GREATER, IOCTL_LAST_ALLOWED, caught, allow),
    ]
}

/// The filter for machines of one kind.
///
/// Calls whose verdict depends on nothing but number and ABI end before any argument is loaded, so that the kernel
/// (5.11 and newer) answers them from its bitmap and never runs the program.
pub const fn program(native: NativeAbi) -> [Instruction; LENGTH] {
    // Where the parts and the verdicts stand.
    const SOCKET: usize = 9;
    const FOREIGN: usize = 20;
    const IOCTL: usize = 23;
    const FOREIGN_IOCTL: usize = 32;
    const DENY: usize = 41;
    const NOTIFY: usize = 42;
    const NO_MPTCP: usize = 43;
    const ALLOW: usize = 44;
    let ioctl_native = ioctl(IOCTL, NOTIFY, ALLOW);
    let ioctl_foreign = ioctl(FOREIGN_IOCTL, DENY, ALLOW);
    [
        // io_uring, in every ABI.
        statement(LOAD, AT_NR),
        statement(AND, !X32_SYSCALL_BIT),
        branch(2, JUMP_AT_LEAST, NR_IO_URING_SETUP, 3, 4),
        branch(3, JUMP_GREATER, NR_IO_URING_REGISTER, 4, DENY),
        // Foreign ABIs: another `arch`, or the x32 bit, with which the number is neither socket(2)'s nor ioctl(2)'s.
        statement(LOAD, AT_ARCH),
        branch(5, JUMP_EQUAL, native.audit_arch, 6, FOREIGN),
        statement(LOAD, AT_NR),
        branch(7, JUMP_EQUAL, native.nr_socket, SOCKET, 8),
        branch(8, JUMP_EQUAL, native.nr_ioctl, IOCTL, FOREIGN + 2),
        // socket(2): family, type, protocol.
        statement(LOAD, at_argument(0)),
        branch(10, JUMP_EQUAL, libc::AF_INET as u32, 12, 11),
        branch(11, JUMP_EQUAL, libc::AF_INET6 as u32, 12, ALLOW),
        statement(LOAD, at_argument(1)),
        statement(AND, SOCK_TYPE_MASK),
        branch(14, JUMP_EQUAL, libc::SOCK_STREAM as u32, 15, ALLOW),
        statement(LOAD, at_argument(2)),
        branch(16, JUMP_EQUAL, 0, NOTIFY, 17),
        branch(17, JUMP_EQUAL, libc::IPPROTO_TCP as u32, NOTIFY, 18),
        // SCTP and other protocols belong to the container's own namespace.
        branch(18, JUMP_EQUAL, IPPROTO_MPTCP, NO_MPTCP, 19),
        statement(RETURN, RET_ALLOW),
        // Other ABIs.
        statement(LOAD, AT_NR),
        branch(21, JUMP_EQUAL, NR_IOCTL_32, FOREIGN_IOCTL, ALLOW),
        branch(22, JUMP_EQUAL, NR_IOCTL_X32, FOREIGN_IOCTL, ALLOW),
        ioctl_native[0],
        ioctl_native[1],
        ioctl_native[2],
        ioctl_native[3],
        ioctl_native[4],
        ioctl_native[5],
        ioctl_native[6],
        ioctl_native[7],
        ioctl_native[8],
        ioctl_foreign[0],
        ioctl_foreign[1],
        ioctl_foreign[2],
        ioctl_foreign[3],
        ioctl_foreign[4],
        ioctl_foreign[5],
        ioctl_foreign[6],
        ioctl_foreign[7],
        ioctl_foreign[8],
        statement(RETURN, RET_ERRNO | libc::EPERM as u32),
        statement(RETURN, RET_USER_NOTIF),
        statement(RETURN, RET_ERRNO | libc::EPROTONOSUPPORT as u32),
        statement(RETURN, RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests;
