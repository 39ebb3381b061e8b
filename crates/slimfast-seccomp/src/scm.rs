//! Passing descriptors over unix sockets (SCM_RIGHTS).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Most descriptors in one message here: the sockets that hold a node's front ports. The kernel's own limit is 253.
pub const MAX_FDS: usize = 64;

/// Room for [`MAX_FDS`] descriptors and the header, aligned for the header.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);
// SAFETY: CMSG_SPACE only computes.
const CONTROL_BYTES: usize = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) as usize };

/// What one message brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes of payload; 0 is the end of the connection.
    pub length: usize,
    pub fds: Vec<OwnedFd>,
}

/// Receives one message with its descriptors, which are CLOEXEC. If there were more than [`MAX_FDS`] or they could not
/// all be installed, those that came are closed and the error is EMSGSIZE.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut payload = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut payload;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    let length = loop {
        // SAFETY: the message points to a buffer and a control area that outlive the call, with their right lengths.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if length >= 0 {
            break length as usize;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the control area and set its length; CMSG_FIRSTHDR and CMSG_NXTHDR stay within it, and
    // each descriptor in a SCM_RIGHTS record is new and ours alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok(Received { length, fds })
}

/// Sends `payload` with `fds` in one message, without SIGPIPE. Returns how many bytes of the payload were taken; a
/// stream may take fewer than all, and the descriptors go with the first. `flags` are send(2)'s.
pub fn send(socket: BorrowedFd<'_>, payload: &[u8], fds: &[BorrowedFd<'_>], flags: i32) -> io::Result<usize> {
    if fds.len() > MAX_FDS || payload.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = std::mem::size_of_val(fds) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control area is aligned for a header and has room for MAX_FDS descriptors, and fds are no more.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            let first = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, fd) in fds.iter().enumerate() {
                first.add(index).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: the message points to a payload and a control area that outlive the call, with their right lengths.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags | libc::MSG_NOSIGNAL) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn several_descriptors_go_over_in_order_and_are_cloexec() {
        let (a, b) = UnixStream::pair().unwrap();
        let files: Vec<_> = (0..3).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        assert_eq!(send(a.as_fd(), b"abc", &borrowed, 0).unwrap(), 3);
        let mut buffer = [0; 16];
        let received = receive(b.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..received.length], b"abc");
        assert_eq!(received.fds.len(), 3);
        for fd in &received.fds {
            // SAFETY: F_GETFD passes no pointer.
            assert_eq!(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }, libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn the_end_of_the_connection_is_a_length_of_zero() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(a);
        let received = receive(b.as_fd(), &mut [0; 16]).unwrap();
        assert_eq!((received.length, received.fds.len()), (0, 0));
    }

    #[test]
    fn more_than_the_limit_is_refused_on_both_sides() {
        let (a, b) = UnixStream::pair().unwrap();
        let many: Vec<_> = (0..=MAX_FDS).map(|_| a.as_fd()).collect();
        assert_eq!(send(a.as_fd(), b"x", &many, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        // A sender with a larger limit than ours: built by hand.
        let fds: Vec<RawFd> = vec![a.as_raw_fd(); MAX_FDS + 4];
        let mut control = vec![0u64; 64];
        let mut part = libc::iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        // SAFETY: as in send(), with a control area of 512 bytes.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            let bytes = (fds.len() * size_of::<RawFd>()) as u32;
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), fds.len());
            assert_eq!(libc::sendmsg(a.as_raw_fd(), &raw const message, 0), 1);
        }
        assert_eq!(receive(b.as_fd(), &mut [0; 16]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}
