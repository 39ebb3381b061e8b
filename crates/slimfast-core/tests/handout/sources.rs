//! Sources of plain sockets of this process's namespace, with a mark by which a test knows them again.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use slimfast_core::error::{Error, Result};
use slimfast_core::owner::{EndpointKey, Family, SocketSource, SocketSources, Tier};

pub const ENDPOINT: EndpointKey = EndpointKey { vni: 7, id: 42 };

/// SO_PRIORITY of our sockets; sockets that the kernel itself made have 0.
pub static MARK: i32 = 5;

#[derive(Default)]
pub struct Plain {
    pub created: AtomicUsize,
    /// errno of every creation, if not 0.
    pub failure: AtomicI32,
    pub detached: AtomicBool,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

impl Plain {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on creations wait.
    pub fn close_gate(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    pub fn open_gate(&self) {
        self.gate.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    pub fn waiting(&self) -> usize {
        self.gate.lock().unwrap().waiting
    }

    fn create(&self, family: Family) -> Result<OwnedFd> {
        let mut gate = self.gate.lock().unwrap();
        gate.waiting += 1;
        gate = self.changed.wait_while(gate, |gate| gate.closed).unwrap();
        gate.waiting -= 1;
        drop(gate);
        let failure = self.failure.load(Ordering::SeqCst);
        if failure != 0 {
            return Err(Error::system("socket", "test", std::io::Error::from_raw_os_error(failure)));
        }
        if self.detached.load(Ordering::SeqCst) {
            return Err(Error::NotFound { what: "the endpoint".into() });
        }
        let domain = match family {
            Family::Inet => libc::AF_INET,
            Family::Inet6 => libc::AF_INET6,
        };
        self.created.fetch_add(1, Ordering::SeqCst);
        // SAFETY: a fresh descriptor of ours, and an option of four bytes.
        unsafe {
            let fd = libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0);
            let socket = OwnedFd::from_raw_fd(fd);
            let value = (&raw const MARK).cast();
            assert_eq!(libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PRIORITY, value, 4), 0);
            Ok(socket)
        }
    }
}

struct OfEndpoint(Arc<Plain>);

impl SocketSource for OfEndpoint {
    fn create(&self, family: Family) -> Result<OwnedFd> {
        self.0.create(family)
    }
}

/// `Arc<Plain>` as the data path would be given.
pub struct Sources(pub Arc<Plain>);

impl SocketSources for Sources {
    fn for_endpoint(&self, owner: EndpointKey, _tier: Tier) -> Result<Box<dyn SocketSource>> {
        if owner != ENDPOINT || self.0.detached.load(Ordering::SeqCst) {
            return Err(Error::NotFound { what: format!("{owner:?}") });
        }
        Ok(Box::new(OfEndpoint(Arc::clone(&self.0))))
    }
}
