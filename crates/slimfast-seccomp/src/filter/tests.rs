//! The filter's verdicts, for both machines and every ABI.

use super::verdict::{Call, returned};
use super::*;

const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// What `program` returns for a call.
fn run(program: &[Instruction], nr: u32, arch: u32, arguments: [u64; 3]) -> u32 {
    let [first, second, third] = arguments;
    let call = Call { nr, arch, args: [first, second, third, 0, 0, 0] };
    returned(program, &call).expect("the program is one that the kernel takes")
}

fn socket(native: NativeAbi, domain: i32, kind: i32, protocol: i32) -> u32 {
    // The upper halves are garbage that the kernel ignores as well.
    let arguments = [domain, kind, protocol].map(|a| 0xdead_beef_0000_0000 | u64::from(a as u32));
    run(&program(native), native.nr_socket, native.audit_arch, arguments)
}

#[test]
fn tcp_sockets_are_notified() {
    for native in [X86_64, AARCH64] {
        for domain in [libc::AF_INET, libc::AF_INET6] {
            for flags in [0, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC] {
                for protocol in [0, libc::IPPROTO_TCP] {
                    assert_eq!(socket(native, domain, libc::SOCK_STREAM | flags, protocol), RET_USER_NOTIF);
                }
            }
        }
    }
}

#[test]
fn multipath_tcp_is_declined_without_a_notification() {
    let expected = RET_ERRNO | libc::EPROTONOSUPPORT as u32;
    for native in [X86_64, AARCH64] {
        for domain in [libc::AF_INET, libc::AF_INET6] {
            assert_eq!(socket(native, domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 262), expected);
        }
        assert_eq!(socket(native, libc::AF_UNIX, libc::SOCK_STREAM, 262), RET_ALLOW);
    }
}

#[test]
fn other_sockets_are_the_containers_own() {
    for native in [X86_64, AARCH64] {
        assert_eq!(socket(native, libc::AF_INET, libc::SOCK_DGRAM, 0), RET_ALLOW);
        assert_eq!(socket(native, libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 17), RET_ALLOW);
        assert_eq!(socket(native, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP), RET_ALLOW);
        assert_eq!(socket(native, libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP), RET_ALLOW);
        assert_eq!(socket(native, libc::AF_UNIX, libc::SOCK_STREAM, 0), RET_ALLOW);
        assert_eq!(socket(native, libc::AF_NETLINK, libc::SOCK_RAW, 0), RET_ALLOW);
        assert_eq!(socket(native, -1, -1, -1), RET_ALLOW);
    }
}

#[test]
fn foreign_abis_are_never_notified() {
    let tcp = [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0];
    let x86 = program(X86_64);
    for nr in [41, 102, 359] {
        assert_eq!(run(&x86, nr, AUDIT_ARCH_I386, tcp), RET_ALLOW);
    }
    assert_eq!(run(&x86, 41 | X32_SYSCALL_BIT, X86_64.audit_arch, tcp), RET_ALLOW);
    let arm = program(AARCH64);
    for nr in [198, 281] {
        assert_eq!(run(&arm, nr, AUDIT_ARCH_ARM, tcp), RET_ALLOW);
    }
}

#[test]
fn io_uring_is_denied_in_every_abi() {
    let expected = RET_ERRNO | libc::EPERM as u32;
    for (native, archs) in
        [(X86_64, [X86_64.audit_arch, AUDIT_ARCH_I386]), (AARCH64, [AARCH64.audit_arch, AUDIT_ARCH_ARM])]
    {
        let program = program(native);
        for arch in archs {
            for nr in 425..=427 {
                assert_eq!(run(&program, nr, arch, [0; 3]), expected, "{nr}");
                assert_eq!(run(&program, nr | X32_SYSCALL_BIT, arch, [0; 3]), expected, "{nr} x32");
            }
            for nr in [0, 424, 428, 450, u32::MAX] {
                assert_eq!(run(&program, nr, arch, [0; 3]), RET_ALLOW, "{nr}");
            }
        }
    }
}

#[test]
fn every_jump_stays_in_the_program() {
    for native in [X86_64, AARCH64] {
        for (at, i) in program(native).iter().enumerate() {
            let furthest = at + 1 + usize::from(i.jump_true.max(i.jump_false));
            assert!(i.code == RETURN || furthest < LENGTH, "instruction {at}");
        }
    }
}

#[test]
fn ioctl_about_interfaces_is_answered_and_the_rest_is_the_kernels() {
    let denied = RET_ERRNO | libc::EPERM as u32;
    for (native, arch32) in [(X86_64, AUDIT_ARCH_I386), (AARCH64, AUDIT_ARCH_ARM)] {
        let program = program(native);
        let on = |command: u32| [3, 0xdead_beef_0000_0000 | u64::from(command), 0];
        // FIONREAD, FIONBIO, TCGETS; SIOCATMARK, FIOSETOWN, SIOCGSTAMPNS, SIOCOUTQNSD, SIOCGSTAMP_NEW.
        for command in [0x541b, 0x5421, 0x5401, 0x8905, 0x8901, 0x8907, 0x894b, 0x8010_8906, 0, u32::MAX] {
            assert_eq!(run(&program, native.nr_ioctl, native.audit_arch, on(command)), RET_ALLOW, "{command:#x}");
            assert_eq!(run(&program, NR_IOCTL_32, arch32, on(command)), RET_ALLOW, "{command:#x}");
        }
        // SIOCGIFCONF, SIOCSIFFLAGS, SIOCADDRT, SIOCGSKNS, SIOCETHTOOL, and what is between the allowed ones.
        for command in [0x8912, 0x8914, 0x890b, 0x894c, 0x8946, 0x8900, 0x8908, 0x894a, 0x89ff, 0x1234_8903] {
            assert_eq!(run(&program, native.nr_ioctl, native.audit_arch, on(command)), RET_USER_NOTIF, "{command:#x}");
            assert_eq!(run(&program, NR_IOCTL_32, arch32, on(command)), denied, "{command:#x}");
        }
    }
    let x32 = |command| run(&program(X86_64), NR_IOCTL_X32, X86_64.audit_arch, [3, command, 0]);
    assert_eq!((x32(0x8912), x32(0x541b)), (denied, RET_ALLOW));
}
