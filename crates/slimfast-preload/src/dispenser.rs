//! Takes sockets out of the dispenser.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::abi::{
    IoVec, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, Message, O_NONBLOCK, O_RDWR, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOL_SOCKET,
};
use crate::syscall;

/// Which descriptor, and which socket it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    pub fd: c_int,
    pub dev: u64,
    pub ino: u64,
}

/// Payload of a message that carries an AF_INET TCP socket. The agent's dispenser sends it.
pub(crate) const MESSAGE: u8 = b'4';

// Written once, while the library is loaded; read-only afterwards.
static FD: AtomicI32 = AtomicI32::new(-1);
static DEV: AtomicU64 = AtomicU64::new(0);
static INO: AtomicU64 = AtomicU64::new(0);

pub(crate) fn set(name: Name) {
    DEV.store(name.dev, Ordering::Relaxed);
    INO.store(name.ino, Ordering::Relaxed);
    FD.store(name.fd, Ordering::Relaxed);
}

/// A socket with the flags of `kind`, at the lowest free descriptor; `None` if the dispenser has none for us.
pub(crate) fn take(kind: c_int) -> Option<c_int> {
    let fd = FD.load(Ordering::Relaxed);
    if fd < 0 || syscall::identity(fd) != Some((DEV.load(Ordering::Relaxed), INO.load(Ordering::Relaxed))) {
        return None;
    }
    let socket = receive(fd, kind & SOCK_CLOEXEC != 0)?;
    if kind & SOCK_NONBLOCK != 0 && !syscall::set_status(socket, O_RDWR | O_NONBLOCK) {
        syscall::close(socket);
        return None;
    }
    Some(socket)
}

/// struct cmsghdr with room for one descriptor, and no more: further ones would be closed by the kernel.
#[repr(C)]
struct Control {
    length: usize,
    level: c_int,
    kind: c_int,
    fd: c_int,
}

/// CMSG_LEN of one descriptor, which is less than the record's padded size.
const ONE_FD: usize = size_of::<usize>() + 3 * size_of::<c_int>();

fn receive(fd: c_int, cloexec: bool) -> Option<c_int> {
    let mut byte = 0u8;
    let mut control = Control { length: 0, level: 0, kind: 0, fd: -1 };
    let mut payload = IoVec { base: (&raw mut byte).cast(), length: 1 };
    let mut message = Message {
        name: core::ptr::null_mut(),
        name_length: 0,
        parts: &raw mut payload,
        part_count: 1,
        control: (&raw mut control).cast(),
        control_length: ONE_FD,
        flags: 0,
    };
    let flags = MSG_DONTWAIT | if cloexec { MSG_CMSG_CLOEXEC } else { 0 };
    // SAFETY: payload and control are ours, live through the call, and have the lengths that the message says.
    let length = unsafe { syscall::receive(fd, &mut message, flags) };
    // Read anew: the compiler does not see that the system call wrote through the pointers.
    // SAFETY: both are initialised.
    let (byte, control) = unsafe { ((&raw const byte).read_volatile(), (&raw const control).read_volatile()) };
    let brought = message.control_length >= ONE_FD
        && control.length == ONE_FD
        && control.level == SOL_SOCKET
        && control.kind == SCM_RIGHTS;
    if length < 0 || !brought {
        // Empty, closed, or the process is out of descriptors: then the kernel says so to the call that follows.
        return None;
    }
    if length != 1 || byte != MESSAGE {
        syscall::close(control.fd);
        return None;
    }
    Some(control.fd)
}
