//! The system calls that std lacks, behind safe signatures. The only module with `unsafe`. All go through libc's
//! functions rather than `syscall(2)`, because the `preload` tier replaces those.
#![allow(unsafe_code)]

pub mod bpf;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A non-blocking listener; an IPv6 one is dual-stack. std's own has a fixed backlog.
pub fn listen(address: SocketAddr, backlog: u16) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })?;
    // SAFETY: `fd` was just created and nobody else has it.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    set_int(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    let (name, length) = sockaddr(address);
    // SAFETY: `name` is valid for `length` bytes, which sockaddr() took from the type that it filled in.
    check(unsafe { libc::bind(fd, (&raw const name).cast(), length) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, libc::c_int::from(backlog)) })?;
    Ok(listener)
}

fn set_int(fd: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a live int of the given length.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), length) }).map(drop)
}

fn sockaddr(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zero is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is at least as large and as aligned as any sockaddr.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(name) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(name) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

/// The next connection, non-blocking, or `None` if there is none. One call, where std needs two.
pub fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: accept4 allows null for the address and its length.
    let result =
        check(unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) });
    match result {
        // SAFETY: the descriptor was just created and nobody else has it.
        Ok(fd) => Ok(Some(unsafe { TcpStream::from_raw_fd(fd) })),
        Err(error) => match error.raw_os_error() {
            // ECONNABORTED: the client was gone again before we came; the next event brings the next one.
            Some(libc::EAGAIN | libc::ECONNABORTED | libc::EINTR) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Makes closing send RST, so that no TIME_WAIT remains on either side.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the pointer is to a live `linger` of the given length.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    };
    check(result).map(drop)
}

/// Sends a SYN and does not wait for its answer.
pub fn start_connecting(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })?;
    // SAFETY: `fd` was just created and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let (name, length) = sockaddr(to);
    // SAFETY: `name` is valid for `length` bytes, which sockaddr() took from the type that it filled in.
    match check(unsafe { libc::connect(fd, (&raw const name).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Waits until what [`start_connecting`] has begun is decided. The stream is a blocking one.
pub fn finish_connecting(socket: OwnedFd) -> io::Result<TcpStream> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, as announced.
    check(unsafe { libc::poll(&raw mut entry, 1, -1) })?;
    let stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The calling thread, and the threads that it will start, run on this CPU only.
pub fn run_on_cpu(cpu: u16) -> io::Result<()> {
    // SAFETY: all zero is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if usize::from(cpu) >= size_of::<libc::cpu_set_t>() * 8 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the number was checked against the size of the set.
    unsafe { libc::CPU_SET(usize::from(cpu), &mut set) };
    // SAFETY: the set is live and has the size that is passed.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// As many descriptors as we may have. Where that is too few, the call that needs one more says so.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both pointers are to a live rlimit.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// What an epoll registration waits for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Interest {
    Readable,
    Writable,
}

/// An epoll instance, level-triggered. Closed descriptors leave it by themselves.
pub struct Epoll {
    fd: OwnedFd,
}

/// Room for the events of one wait.
pub struct Events {
    buffer: Vec<libc::epoll_event>,
}

impl Events {
    pub fn with_capacity(count: usize) -> Self {
        Self { buffer: Vec::with_capacity(count) }
    }

    /// The tokens of what is ready, or has failed, which a read or write will tell.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.buffer.iter().map(|event| event.u64)
    }
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { fd })
    }

    pub fn add(&self, source: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, token, interest)
    }

    pub fn change(&self, source: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source, token, interest)
    }

    fn control(&self, what: libc::c_int, source: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        let events = match interest {
            Interest::Readable => libc::EPOLLIN,
            Interest::Writable => libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: the pointer is to a live event.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, source.as_raw_fd(), &raw mut event) }).map(drop)
    }

    /// Waits for at least one event; a signal is none and is waited through.
    pub fn wait(&self, events: &mut Events) -> io::Result<()> {
        let room = events.buffer.capacity();
        loop {
            events.buffer.clear();
            // SAFETY: the vector has room for `room` events.
            let count =
                unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.buffer.as_mut_ptr(), room as libc::c_int, -1) };
            match check(count) {
                Ok(count) => {
                    // SAFETY: the kernel has filled in the first `count` events.
                    unsafe { events.buffer.set_len(count as usize) };
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
