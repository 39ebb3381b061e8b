//! The system calls, made without the C library.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use crate::abi::{self, Message, Status};

/// A negated errno, or the result.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the caller passes arguments that are valid for the call. The kernel changes rax, rcx and r11 only.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A negated errno, or the result.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the caller passes arguments that are valid for the call. The kernel changes x0 only.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            options(nostack),
        );
    }
    result
}

/// A negated errno, or a descriptor.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> isize {
    // SAFETY: no pointers are passed.
    unsafe { call(abi::SOCKET, domain as usize, kind as usize, protocol as usize) }
}

/// Device and inode of a descriptor.
pub(crate) fn identity(fd: c_int) -> Option<(u64, u64)> {
    let mut status = MaybeUninit::<Status>::uninit();
    // SAFETY: the kernel fills a record of its own layout, which is at most as long as ours.
    if unsafe { call(abi::FSTAT, fd as usize, status.as_mut_ptr() as usize, 0) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded and filled the two fields.
    let (dev, ino) = unsafe { ((*status.as_ptr()).dev, (*status.as_ptr()).ino) };
    Some((dev, ino))
}

/// A negated errno, or the payload's length.
///
/// # Safety
/// `message` must point to buffers that the kernel may write, with their right lengths.
pub(crate) unsafe fn receive(fd: c_int, message: &mut Message, flags: c_int) -> isize {
    // SAFETY: the caller vouches for the buffers.
    unsafe { call(abi::RECVMSG, fd as usize, core::ptr::from_mut(message) as usize, flags as usize) }
}

/// Sets the status flags of a socket. True on success.
pub(crate) fn set_status(fd: c_int, flags: c_int) -> bool {
    // SAFETY: no pointers are passed.
    unsafe { call(abi::FCNTL, fd as usize, abi::F_SETFL as usize, flags as usize) == 0 }
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: no pointers are passed; the caller owns the descriptor.
    unsafe { call(abi::CLOSE, fd as usize, 0, 0) };
}
