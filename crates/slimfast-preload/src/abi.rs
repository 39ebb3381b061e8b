//! The kernel's numbers and records that this library uses. It has no dependencies, so it can not take them from libc;
//! a test compares them.

use core::ffi::{c_int, c_void};

pub(crate) const EINTR: c_int = 4;
pub(crate) const AF_INET: c_int = 2;
pub(crate) const SOCK_STREAM: c_int = 1;
pub(crate) const SOCK_NONBLOCK: c_int = O_NONBLOCK;
pub(crate) const SOCK_CLOEXEC: c_int = 0o2_000_000;
pub(crate) const IPPROTO_TCP: c_int = 6;
pub(crate) const SOL_SOCKET: c_int = 1;
pub(crate) const SCM_RIGHTS: c_int = 1;
pub(crate) const MSG_DONTWAIT: c_int = 0x40;
pub(crate) const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
pub(crate) const F_SETFL: c_int = 4;
pub(crate) const O_RDWR: c_int = 2;
pub(crate) const O_NONBLOCK: c_int = 0o4_000;

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const FSTAT: usize = 5;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const FCNTL: usize = 72;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const FSTAT: usize = 80;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const RECVMSG: usize = 212;
}

pub(crate) use numbers::*;

/// `struct iovec`.
#[repr(C)]
pub(crate) struct IoVec {
    pub base: *mut c_void,
    pub length: usize,
}

/// `struct user_msghdr`.
#[repr(C)]
pub(crate) struct Message {
    pub name: *mut c_void,
    pub name_length: c_int,
    pub parts: *mut IoVec,
    pub part_count: usize,
    pub control: *mut c_void,
    pub control_length: usize,
    pub flags: u32,
}

/// `struct stat`, of which the first two fields are of interest. Its size is 144 bytes or less.
#[repr(C)]
pub(crate) struct Status {
    pub dev: u64,
    pub ino: u64,
    pub rest: [u64; 16],
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn the_numbers_are_those_of_libc() {
        assert_eq!(
            [AF_INET, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, IPPROTO_TCP],
            [libc::AF_INET, libc::SOCK_STREAM, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC, libc::IPPROTO_TCP]
        );
        assert_eq!(EINTR, libc::EINTR);
        assert_eq!([SOL_SOCKET, SCM_RIGHTS], [libc::SOL_SOCKET, libc::SCM_RIGHTS]);
        assert_eq!([MSG_DONTWAIT, MSG_CMSG_CLOEXEC], [libc::MSG_DONTWAIT, libc::MSG_CMSG_CLOEXEC]);
        assert_eq!([F_SETFL, O_RDWR, O_NONBLOCK], [libc::F_SETFL, libc::O_RDWR, libc::O_NONBLOCK]);
        let numbers = [libc::SYS_close, libc::SYS_fstat, libc::SYS_socket, libc::SYS_recvmsg, libc::SYS_fcntl];
        assert_eq!([CLOSE, FSTAT, SOCKET, RECVMSG, FCNTL], numbers.map(|n| n as usize));
    }

    #[test]
    fn the_records_are_those_of_libc() {
        assert_eq!(size_of::<Message>(), size_of::<libc::msghdr>());
        assert_eq!(offset_of!(Message, control_length), offset_of!(libc::msghdr, msg_controllen));
        assert_eq!(offset_of!(Message, flags), offset_of!(libc::msghdr, msg_flags));
        assert!(size_of::<Status>() >= size_of::<libc::stat>());
        assert_eq!(offset_of!(Status, dev), offset_of!(libc::stat, st_dev));
        assert_eq!(offset_of!(Status, ino), offset_of!(libc::stat, st_ino));
    }
}
