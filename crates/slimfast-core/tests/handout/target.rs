//! Child processes under the filter. They run a body of plain system calls and end with its result.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use slimfast_seccomp::install::{self, Installed};
use slimfast_seccomp::scm;

use crate::sources::MARK;

/// A child that goes with the test.
pub struct Target {
    pub pid: i32,
    go: Option<UnixStream>,
}

/// Forks a child, which installs the filter, hands us its listener, waits for [`Target::go`], runs `body` and exits with
/// what it returns.
pub fn spawn(body: impl FnOnce() -> i32) -> (Target, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // SAFETY: the child uses nothing that other threads may have had in use at the fork, malloc excepted, which
    // glibc makes safe.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        drop(ours);
        let code = match install::install() {
            Ok(Installed { listener, .. }) => {
                scm::send(theirs.as_fd(), b"l", &[listener.as_fd()], 0).unwrap();
                drop(listener);
                let _ = scm::receive(theirs.as_fd(), &mut [0]);
                body()
            }
            Err(_) => 250,
        };
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) };
    }
    drop(theirs);
    let mut received = scm::receive(ours.as_fd(), &mut [0]).unwrap();
    (Target { pid, go: Some(ours) }, received.fds.pop().expect("the child installed the filter"))
}

impl Target {
    pub fn go(&mut self) {
        // A byte, not the end of the connection: children that were forked later hold a copy of our end.
        if let Some(mut go) = self.go.take() {
            go.write_all(b"g").unwrap();
        }
    }

    /// The exit code, or the negated number of the signal that ended it.
    pub fn wait(mut self) -> i32 {
        self.go();
        let mut status = 0;
        // Of this thread: another one may look at its filters, and waits for it to stop.
        // SAFETY: our child, which nobody else waits for.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WNOTHREAD) }, self.pid);
        self.pid = 0;
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
    }

    /// Returns when it is dead; it can still be waited for.
    pub fn kill(&self) {
        // SAFETY: our child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        // SAFETY: all zeros is a valid siginfo_t, which the call fills in.
        let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let pid = self.pid.cast_unsigned();
        // SAFETY: our child; it is left to be waited for.
        assert_eq!(unsafe { libc::waitid(libc::P_PID, pid, &raw mut ended, libc::WEXITED | libc::WNOWAIT) }, 0);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.pid > 0 {
            self.kill();
            // SAFETY: our child.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
    }
}

/// socket(2): the descriptor or the negated errno.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> i32 {
    // SAFETY: no pointers are passed; errno is the thread's own.
    unsafe {
        let fd = libc::socket(domain, kind, protocol);
        if fd < 0 { -*libc::__errno_location() } else { fd }
    }
}

pub fn close(fd: i32) {
    // SAFETY: a descriptor that the test opened.
    unsafe { libc::close(fd) };
}

/// Whether the socket is one of [`crate::sources::Plain`].
pub fn is_marked(fd: i32) -> bool {
    let (mut value, mut length) = (0i32, 4);
    let at = (&raw mut value).cast();
    // SAFETY: the kernel writes at most four bytes.
    unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, at, &raw mut length) == 0 && value == MARK }
}

/// Whether the descriptor is (CLOEXEC, O_NONBLOCK).
pub fn flags(fd: i32) -> (bool, bool) {
    // SAFETY: no pointers are passed.
    let (descriptor, status) = unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
    (descriptor & libc::FD_CLOEXEC != 0, status & libc::O_NONBLOCK != 0)
}
