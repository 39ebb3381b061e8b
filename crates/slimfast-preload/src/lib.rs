//! The preloaded library: replaces socket(2), and nothing else.
//!
//! For TCP over IPv4 it takes a ready host socket from the dispenser, a SOCK_SEQPACKET socket that the launcher left in
//! the process and that the agent keeps filled. In every other case, and whenever the dispenser is empty, gone or not
//! to be trusted, it makes the call itself, which the notify tier then answers. So it speeds up, and is never needed.
//!
//! It lives in processes that it knows nothing about, hence:
//! - one file for glibc and musl: it makes raw system calls, and the only symbol that it needs is `__errno_location`,
//!   which both have (`environ` and `gnu_get_libc_version` are weak). `build.rs` makes it, `tests/library.rs` checks it.
//! - no allocation, no lock, no thread-local state, no state written after start-up: safe in signal handlers, after
//!   fork and across threads. errno changes only on failure.
//! - before each use it checks that the descriptor is still the dispenser's: programs close descriptors that they do
//!   not know, and the number may be somebody else's by now.
#![cfg_attr(not(test), no_std)]
// Compiled by cargo it has no exported function, so that nothing which links it replaces its own socket(2).
#![cfg_attr(not(shared_library), allow(dead_code))]

use core::ffi::c_int;

mod abi;
mod dispenser;
mod startup;
mod syscall;

use abi::{AF_INET, EINTR, IPPROTO_TCP, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM};

/// Low bits of the type that are the type proper; the rest are flags.
const SOCK_TYPE_MASK: c_int = 0xf;

const INTERRUPTED: isize = -(EINTR as isize);

/// Whether the dispenser's sockets are what the caller asks for.
fn is_dispensed(domain: c_int, kind: c_int, protocol: c_int) -> bool {
    domain == AF_INET
        && kind & SOCK_TYPE_MASK == SOCK_STREAM
        && kind & !(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC) == 0
        && (protocol == 0 || protocol == IPPROTO_TCP)
}

/// What the exported function does, up to errno: a descriptor or a negated errno.
fn open(domain: c_int, kind: c_int, protocol: c_int) -> isize {
    if is_dispensed(domain, kind, protocol)
        && let Some(socket) = dispenser::take(kind)
    {
        return socket as isize;
    }
    loop {
        match syscall::socket(domain, kind, protocol) {
            // By a signal whose handler does not restart calls, before the supervisor has taken the notification: no program
            // expects that of socket(2), which does not wait.
            INTERRUPTED => {}
            result => return result,
        }
    }
}

/// socket(2).
#[cfg(shared_library)]
#[unsafe(no_mangle)]
extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }
    let result = open(domain, kind, protocol);
    if result < 0 {
        // SAFETY: glibc and musl return the address of the calling thread's errno.
        unsafe { *__errno_location() = -result as c_int };
        return -1;
    }
    result as c_int
}

/// The language demands one. Nothing here can panic, which `tests/library.rs` sees by what the file needs.
#[cfg(shared_library)]
#[panic_handler]
fn unreachable(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(test)]
mod tests;
