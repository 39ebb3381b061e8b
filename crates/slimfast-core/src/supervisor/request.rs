//! What a notification asks for. Pure.

use slimfast_seccomp::filter::{IPPROTO_MPTCP, NATIVE, SOCK_TYPE_MASK};

use super::interface::InterfaceCall;
use crate::owner::Family;
use crate::sys::seccomp::Notification;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Create { family: Family, nonblocking: bool, cloexec: bool },
    Interface(InterfaceCall),
    Refuse(i32),
}

impl Request {
    /// The errnos are those that the kernel's own socket(2) gives, in its order of checks.
    pub(super) fn of(notification: &Notification) -> Self {
        let Notification { nr, arch, args, .. } = *notification;
        if arch == NATIVE.audit_arch && nr as u32 == NATIVE.nr_ioctl {
            // The kernel takes the first two as unsigned int.
            let [descriptor, command, argument, ..] = args;
            let (descriptor, command) = (descriptor as i32, command as u32);
            return Request::Interface(InterfaceCall { descriptor, command, argument });
        }
        // Our filter sends nothing else, but a runtime's profile may be wider than it.
        if arch != NATIVE.audit_arch || nr as u32 != NATIVE.nr_socket {
            return Request::Refuse(libc::EAFNOSUPPORT);
        }
        // The kernel takes the arguments as int.
        let [domain, kind, protocol] = [args[0] as i32, args[1] as i32, args[2] as i32];
        let flags = kind & !(SOCK_TYPE_MASK as i32);
        if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
            return Request::Refuse(libc::EINVAL);
        }
        let family = match domain {
            libc::AF_INET => Family::Inet,
            libc::AF_INET6 => Family::Inet6,
            _ => return Request::Refuse(libc::EAFNOSUPPORT),
        };
        if kind & SOCK_TYPE_MASK as i32 != libc::SOCK_STREAM {
            return Request::Refuse(libc::EPROTONOSUPPORT);
        }
        match protocol {
            0 | libc::IPPROTO_TCP => Request::Create {
                family,
                nonblocking: flags & libc::SOCK_NONBLOCK != 0,
                cloexec: flags & libc::SOCK_CLOEXEC != 0,
            },
            p if p < 0 || p > IPPROTO_MPTCP as i32 => Request::Refuse(libc::EINVAL),
            _ => Request::Refuse(libc::EPROTONOSUPPORT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(domain: i32, kind: i32, protocol: i32) -> Request {
        let args = [domain as u32 as u64, kind as u32 as u64 | 0xffff_0000_0000_0000, protocol as u32 as u64, 9, 9, 9];
        Request::of(&Notification { id: 1, pid: 1, nr: NATIVE.nr_socket as i32, arch: NATIVE.audit_arch, args })
    }

    #[test]
    fn tcp_is_created_with_its_flags() {
        for (nonblocking, cloexec) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut kind = libc::SOCK_STREAM;
            if nonblocking {
                kind |= libc::SOCK_NONBLOCK;
            }
            if cloexec {
                kind |= libc::SOCK_CLOEXEC;
            }
            for protocol in [0, libc::IPPROTO_TCP] {
                let created = |family| Request::Create { family, nonblocking, cloexec };
                assert_eq!(asked(libc::AF_INET, kind, protocol), created(Family::Inet));
                assert_eq!(asked(libc::AF_INET6, kind, protocol), created(Family::Inet6));
            }
        }
    }

    #[test]
    fn the_rest_gets_the_errno_of_the_kernel() {
        let stream = libc::SOCK_STREAM;
        assert_eq!(asked(libc::AF_INET, stream, 262), Request::Refuse(libc::EPROTONOSUPPORT));
        assert_eq!(asked(libc::AF_INET, stream, libc::IPPROTO_UDP), Request::Refuse(libc::EPROTONOSUPPORT));
        assert_eq!(asked(libc::AF_INET, stream, -1), Request::Refuse(libc::EINVAL));
        assert_eq!(asked(libc::AF_INET, stream, 100_000), Request::Refuse(libc::EINVAL));
        assert_eq!(asked(libc::AF_INET, stream | 0x10, 0), Request::Refuse(libc::EINVAL));
        assert_eq!(asked(libc::AF_UNIX, stream, 0), Request::Refuse(libc::EAFNOSUPPORT));
        assert_eq!(asked(libc::AF_INET, libc::SOCK_DGRAM, 0), Request::Refuse(libc::EPROTONOSUPPORT));
    }

    #[test]
    fn other_calls_and_abis_are_refused() {
        let args = [2, 1, 0, 0, 0, 0];
        let other = |nr, arch| Request::of(&Notification { id: 1, pid: 1, nr, arch, args });
        assert_eq!(other(NATIVE.nr_socket as i32 + 1, NATIVE.audit_arch), Request::Refuse(libc::EAFNOSUPPORT));
        assert_eq!(other(NATIVE.nr_socket as i32, 0x4000_0003), Request::Refuse(libc::EAFNOSUPPORT));
        assert_eq!(
            other(NATIVE.nr_socket as i32 | 0x4000_0000, NATIVE.audit_arch),
            Request::Refuse(libc::EAFNOSUPPORT)
        );
    }
}
