//! Notifications, whose arguments are the target's.

use slimfast_seccomp::filter::{NATIVE, SOCK_TYPE_MASK};

use super::interface::InterfaceCall;
use super::request::Request;
use crate::fuzzing::Input;
use crate::sys::seccomp::Notification;

/// A socket is made for nothing but socket(2) of TCP in the machine's own ABI, whatever else the arguments say.
pub(crate) fn notification(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    // Most inputs should get past the first check.
    let nr = match input.byte() {
        0..=99 => NATIVE.nr_socket,
        100..=199 => NATIVE.nr_ioctl,
        _ => input.word() as u32,
    };
    let arch = if input.byte() < 200 { NATIVE.audit_arch } else { input.word() as u32 };
    let args: [u64; 6] = std::array::from_fn(|_| input.word());
    let [domain, kind, protocol] = [args[0] as i32, args[1] as i32, args[2] as i32];
    let is_native = arch == NATIVE.audit_arch;
    let is_tcp = [libc::AF_INET, libc::AF_INET6].contains(&domain)
        && kind & SOCK_TYPE_MASK as i32 == libc::SOCK_STREAM
        && kind & !(SOCK_TYPE_MASK as i32 | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) == 0
        && [0, libc::IPPROTO_TCP].contains(&protocol);
    match Request::of(&Notification { id: 1, pid: 1, nr: nr as i32, arch, args }) {
        Request::Create { .. } => assert!(is_native && nr == NATIVE.nr_socket && is_tcp, "made for {args:x?}"),
        Request::Interface(InterfaceCall { command, .. }) => {
            assert!(is_native && nr == NATIVE.nr_ioctl);
            assert_eq!(command, args[1] as u32);
        }
        Request::Refuse(errno) => {
            assert!(errno > 0 && errno < 4096);
            assert!(!(is_native && nr == NATIVE.nr_socket && is_tcp), "refused {args:x?}");
        }
    }
}
