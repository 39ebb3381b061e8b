//! The keeper's own side.
//!
//! Threads: admission's, the supervisors' and the dispensers'; one that accepts agents; one per agent's connection; one that
//! passes events on. None of those that serve containers waits for an agent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::line::Line;
use super::protocol::{Held, KeeperEvent, Reply, Request, VERSION};
use super::{SECCOMP_SOCKET, SOCKET};
use crate::admission::{Admission, AdmissionEvent, Handed, HandedCopy, Holding};
use crate::datapath::sockets::HostSockets;
use crate::error::{Error, Result};
use crate::host::cgroup;
use crate::owner::{EndpointKey, SocketSources};
use crate::sys;
use crate::sys::seccomp::ListenerCopy;
use crate::sys::unix::{bind_private, peer_credentials};
use crate::sys::wake::{URGENT, Wake, spawn};

/// Events that wait for an agent at most; later ones are lost then. An agent that comes looks at every endpoint anyway.
const EVENTS_MAX: usize = 1024;
/// How long an agent may take to receive an event, before it counts as gone.
const EVENT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the keeper looks whether its run directory is still there.
const LOOK: Duration = Duration::from_secs(2);
/// Before a keeper that was told to end ends without having closed everything.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the keeper consists of.
struct Server {
    /// None once it was stopped.
    admission: Mutex<Option<Admission>>,
    sockets: Arc<HostSockets>,
    admitted: Mutex<HashSet<EndpointKey>>,
    held: Mutex<HashMap<String, Vec<OwnedFd>>>,
    outbox: Mutex<Outbox>,
    stopped: Wake,
}

/// Events, and who gets them.
#[derive(Default)]
struct Outbox {
    agent: Option<Line>,
    waiting: VecDeque<KeeperEvent>,
}

/// Runs a keeper in this process until it is told to end, or its run directory is gone. `cgroup` is the node's. Writes a line
/// to stdout when it serves.
pub fn run(run_dir: &Path, cgroup: &Path) -> Result<()> {
    sys::process::leave_session();
    sys::process::raise_session(URGENT);
    sys::limits::raise_descriptor_limit();
    // Its end would be the end of every container's socket(2).
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    // Host sockets belong to the cgroup that their creator is in.
    cgroup::move_process(std::process::id(), cgroup)?;
    let path = run_dir.join(SOCKET);
    let server = Server::start(run_dir)?;
    // Whoever had it is gone: the seccomp socket, which only one can have, is ours.
    let _ = std::fs::remove_file(&path);
    let listener = bind_private(&path)
        .map_err(|error| Error::system("bind", format!("listening for agents at {}", path.display()), error))?;
    let acceptor = Arc::clone(&server);
    spawn("sf-agents".into(), move || accept(&acceptor, &listener))
        .map_err(|error| Error::system("clone", "starting the keeper", error))?;
    println!("ready");
    let _ = std::io::stdout().flush();
    server.wait(&path);
    server.stop();
    // An agent must not find the file of a keeper that has ended, and a directory that is gone has none.
    let _ = std::fs::remove_file(&path);
    Ok(())
}

impl Server {
    fn start(run_dir: &Path) -> Result<Arc<Self>> {
        let sockets = Arc::new(HostSockets::default());
        let (sender, events) = channel();
        let lookup = {
            let sockets = Arc::clone(&sockets);
            move |metadata: &str| EndpointKey::from_metadata(metadata).filter(|&key| sockets.is_admitted(key))
        };
        let sources: Arc<dyn SocketSources> = Arc::clone(&sockets) as _;
        let admission = Admission::start(&run_dir.join(SECCOMP_SOCKET), Box::new(lookup), sources, sender)?;
        let server = Arc::new(Self {
            admission: Mutex::new(Some(admission)),
            sockets,
            admitted: Mutex::default(),
            held: Mutex::default(),
            outbox: Mutex::default(),
            stopped: Wake::new().map_err(|error| Error::system("eventfd", "starting the keeper", error))?,
        });
        let told = Arc::clone(&server);
        spawn("sf-idle".into(), move || {
            for event in events {
                match event {
                    AdmissionEvent::Idle(endpoint) => {
                        let mut outbox = lock(&told.outbox);
                        outbox.put(KeeperEvent::Idle { endpoint });
                        outbox.tell_change();
                    }
                    AdmissionEvent::Refused { reason } => lock(&told.outbox).put(KeeperEvent::Refused { reason }),
                    AdmissionEvent::Admitted { .. } => lock(&told.outbox).tell_change(),
                    AdmissionEvent::Unguarded { endpoint, reason } => {
                        lock(&told.outbox).put(KeeperEvent::Unguarded { endpoint, reason });
                    }
                }
            }
        })
        .map_err(|error| Error::system("clone", "starting the keeper", error))?;
        Ok(server)
    }

    /// Returns when the keeper is to end.
    fn wait(&self, path: &Path) {
        let inode = |path: &Path| std::fs::metadata(path).map(|file| file.ino()).ok();
        let own = inode(path);
        while !self.stopped.is_set_within(LOOK) {
            // Nobody can reach a keeper whose socket has gone, or is another's.
            if inode(path) != own {
                return;
            }
        }
    }

    fn stop(&self) {
        let Some(admission) = lock(&self.admission).take() else { return };
        // A target that is stopped in the middle of its call does not keep a supervisor, but the process must end in any case.
        let _ = spawn("sf-deadline".into(), || {
            std::thread::sleep(STOP_TIMEOUT);
            std::process::exit(1);
        });
        admission.stop();
    }

    fn admit(&self, endpoint: EndpointKey) {
        self.sockets.admit(endpoint);
        lock(&self.admitted).insert(endpoint);
    }

    fn dismiss(&self, endpoint: EndpointKey) {
        // First no new sockets.
        self.sockets.dismiss(endpoint);
        lock(&self.admitted).remove(&endpoint);
        if let Some(admission) = lock(&self.admission).as_ref() {
            admission.stop_endpoint(endpoint);
        }
    }

    fn endpoints(&self) -> Vec<Held> {
        let admitted = lock(&self.admitted).clone();
        let held = lock(&self.admission).as_ref().map(Admission::all_held).unwrap_or_default();
        let keys: HashSet<EndpointKey> = admitted.iter().chain(held.keys()).copied().collect();
        keys.into_iter()
            .map(|endpoint| {
                let Holding { listeners, dispensers, unguarded } = held.get(&endpoint).copied().unwrap_or_default();
                let admitted = admitted.contains(&endpoint);
                Held { endpoint, admitted, seccomp_listeners: listeners, dispensers, unguarded }
            })
            .collect()
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let admission = lock(&self.admission);
        let named = admission.as_ref().map(|admission| admission.counters().named()).unwrap_or_default();
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn resume(&self, handed: Handed, fds: Vec<OwnedFd>) -> std::result::Result<(), String> {
        let mut fds = fds.into_iter();
        let (Some(fd), Some(page), dispenser) = (fds.next(), fds.next(), fds.next()) else {
            return Err("descriptors of the listener are missing".into());
        };
        let copy = HandedCopy { handed, listener: ListenerCopy { fd, page }, dispenser };
        let admission = lock(&self.admission);
        admission.as_ref().ok_or(Error::Closed).and_then(|it| it.resume(copy)).map_err(|error| error.to_string())
    }

    fn copy(&self, number: u64) -> (Reply, Vec<OwnedFd>) {
        let copy = lock(&self.admission).as_ref().and_then(|admission| admission.copy(number));
        let Some(HandedCopy { handed, listener, dispenser }) = copy else {
            return (Reply::Copy { handed: None }, Vec::new());
        };
        let fds = [listener.fd, listener.page].into_iter().chain(dispenser).collect();
        (Reply::Copy { handed: Some(handed) }, fds)
    }

    fn with_admission(&self, work: impl FnOnce(&Admission)) {
        if let Some(admission) = lock(&self.admission).as_ref() {
            work(admission);
        }
    }

    fn answer(&self, request: Request, fds: Vec<OwnedFd>) -> Reply {
        match request {
            Request::Hello => return Reply::Hello { version: VERSION, pid: std::process::id() },
            Request::Admit { endpoint } => self.admit(endpoint),
            Request::Dismiss { endpoint } => self.dismiss(endpoint),
            Request::Endpoints => return Reply::Endpoints { endpoints: self.endpoints() },
            Request::Counters => return Reply::Counters { counters: self.counters() },
            Request::Hold { label } => drop(lock(&self.held).insert(label, fds)),
            Request::Release { label } => drop(lock(&self.held).remove(&label)),
            Request::Labels => return Reply::Labels { labels: lock(&self.held).keys().cloned().collect() },
            Request::Numbers => {
                let numbers = lock(&self.admission).as_ref().map(Admission::numbers).unwrap_or_default();
                return Reply::Numbers { numbers };
            }
            Request::Resume { handed } => {
                if let Err(reason) = self.resume(handed, fds) {
                    return Reply::Failed { reason };
                }
            }
            // Answered by [`converse`].
            Request::Events | Request::Stop | Request::Copy { .. } => {}
        }
        Reply::Done
    }
}

impl Outbox {
    fn put(&mut self, event: KeeperEvent) {
        if self.waiting.len() < EVENTS_MAX {
            self.waiting.push_back(event);
        }
        self.pass_on();
    }

    /// One that comes looks by itself.
    fn tell_change(&mut self) {
        if self.agent.is_some() && self.waiting.back() != Some(&KeeperEvent::Changed) {
            self.put(KeeperEvent::Changed);
        }
    }

    fn pass_on(&mut self) {
        while let (Some(agent), Some(event)) = (&mut self.agent, self.waiting.front()) {
            if agent.send(event, &[]).is_err() {
                self.agent = None;
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn set_agent(&mut self, agent: Line) {
        if agent.set_timeout(Some(EVENT_TIMEOUT)).is_ok() {
            self.agent = Some(agent);
            self.pass_on();
        }
    }
}

fn accept(server: &Arc<Server>, listener: &UnixListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Short of descriptors or memory.
            server.stopped.sleep(Duration::from_millis(100));
            continue;
        };
        // The file's mode says so already.
        if !matches!(peer_credentials(stream.as_fd()), Ok((0, _))) {
            continue;
        }
        let server = Arc::clone(server);
        // Without a thread for it the connection ends, which the agent sees.
        let _ = spawn("sf-agent".into(), move || converse(&server, stream));
    }
}

/// A conversation in which copies are asked for.
struct Following<'a>(&'a Server);

impl<'a> Following<'a> {
    fn begin(server: &'a Server) -> Self {
        server.with_admission(Admission::add_follower);
        Self(server)
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.with_admission(Admission::remove_follower);
    }
}

fn converse(server: &Server, stream: UnixStream) {
    let mut line = Line::new(stream);
    let mut following = None;
    while let Some(outcome) = line.receive::<Request>().transpose() {
        let (request, fds) = match outcome {
            Ok(request) => request,
            Err(error) => {
                // A later agent's request, or noise. The conversation cannot go on.
                let _ = line.send(&Reply::Failed { reason: format!("the keeper cannot read that: {error}") }, &[]);
                return;
            }
        };
        let (is_events, is_stop) = (matches!(request, Request::Events), matches!(request, Request::Stop));
        let copied = if let Request::Copy { number } = request { Some(number) } else { None };
        if matches!(request, Request::Numbers) {
            // Before the answer: what is handed over after it is told.
            following.get_or_insert_with(|| Following::begin(server));
        }
        let (reply, fds) = match request {
            Request::Copy { number } => server.copy(number),
            request => (server.answer(request, fds), Vec::new()),
        };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if line.send(&reply, &fds).is_err() {
            return;
        }
        if let Some(number) = copied {
            server.with_admission(|admission| admission.note_copied(number));
        }
        if is_events {
            lock(&server.outbox).set_agent(line);
            return;
        }
        if is_stop {
            server.stopped.set();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole at each point where anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The arguments of the keeper's command line, as [`super::KeeperStart`] gives them.
pub(super) fn arguments(run_dir: &Path, cgroup: &Path) -> [PathBuf; 2] {
    [run_dir, cgroup].map(Path::to_owned)
}
