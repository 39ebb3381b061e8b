//! The agent's side of a keeper: finding it, starting it, and asking it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::copies::Copies;
use super::line::Line;
use super::protocol::{Held, KeeperEvent, OLDEST, Reply, Request, VERSION, WITH_COPIES};
use super::{SECCOMP_SOCKET, SOCKET, server};
use crate::admission::Handed;
use crate::error::{Error, Result};
use crate::host::journal::Owner;
use crate::owner::EndpointKey;
use crate::sys;
use crate::sys::unix::peer_credentials;
use crate::sys::wake::spawn;

/// Of one answer: the keeper does nothing that waits.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a keeper that was told to end has ended, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(8);
const END_POLL: Duration = Duration::from_millis(5);
/// File name of what a keeper says on stderr, in the run directory: nothing, unless it fails.
const LOG: &str = "keeper.log";

/// What a keeper is started with.
#[derive(Debug, Clone)]
pub struct KeeperStart<'a> {
    /// The program `slimfast-keeper`.
    pub program: &'a Path,
    pub run_dir: &'a Path,
    /// Directory of the node's cgroup.
    pub cgroup: &'a Path,
}

/// A node's keeper, which lives on when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    line: Mutex<Line>,
    process: Owner,
    socket: PathBuf,
}

/// Takes a keeper's events. Dropping it ends that; the keeper collects what happens until the next one comes.
#[derive(Debug)]
pub struct KeeperWatch {
    stream: UnixStream,
    /// None: the keeper is of an older version.
    copies: Option<Arc<Copies>>,
    /// The end that the thread will see is ours, not the keeper's.
    is_ending: Arc<AtomicBool>,
    /// The second ends with the first.
    threads: [Option<JoinHandle<()>>; 2],
}

impl Keeper {
    /// The keeper of `run_dir`. `None` if none runs there.
    pub fn find(run_dir: &Path) -> Result<Option<Self>> {
        let socket = run_dir.join(SOCKET);
        let stream = match UnixStream::connect(&socket) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(failed("connect", error)),
        };
        let (_, pid) = peer_credentials(stream.as_fd()).map_err(|error| failed("getsockopt", error))?;
        // It may end at any moment, and has then ended.
        let Some(process) = Owner::of(pid.unsigned_abs()) else { return Ok(None) };
        let line = Line::new(stream);
        line.set_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| failed("setsockopt", error))?;
        Ok(Some(Self { line: Mutex::new(line), process, socket }))
    }

    /// Starts a keeper in the network namespace of the calling thread. It belongs to no session and to no parent: signals
    /// that end the caller do not reach it.
    pub fn start(start: &KeeperStart<'_>) -> Result<Self> {
        let KeeperStart { program, run_dir, cgroup } = start;
        let log = run_dir.join(LOG);
        let stderr = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&log)
            .map_err(|error| Error::system("open", format!("opening {}", log.display()), error))?;
        let mut starter = Command::new(program)
            .args(server::arguments(run_dir, cgroup))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| {
                let remedy = "it is built with the rest, by ./slimfast build";
                Error::system("exec", format!("starting the keeper {} ({remedy})", program.display()), error)
            })?;
        let mut said = String::new();
        let read = starter.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut said));
        // The starter has ended; the keeper itself is nobody's child.
        starter.wait().map_err(|error| failed("wait4", error))?;
        if !matches!(read, Some(Ok(1..))) {
            let reason = std::fs::read_to_string(&log).unwrap_or_default();
            let reason =
                if reason.trim().is_empty() { "it has ended at once".into() } else { reason.trim().to_owned() };
            return Err(Error::system("exec", "starting the keeper", io::Error::other(reason)));
        }
        Self::find(run_dir)?.ok_or_else(|| failed("connect", io::Error::other("it has ended at once")))
    }

    /// Another conversation with the same keeper: neither waits for the other's answers.
    pub fn again(&self) -> Result<Self> {
        let ended = || failed("connect", io::Error::other("it has ended"));
        Self::find(self.socket.parent().ok_or_else(ended)?)?.ok_or_else(ended)
    }

    /// Whether this agent can go on with it.
    pub fn is_compatible(&self) -> Result<bool> {
        Ok((OLDEST..=VERSION).contains(&self.version()?))
    }

    fn version(&self) -> Result<u32> {
        match self.ask(&Request::Hello, &[])? {
            Reply::Hello { version, .. } => Ok(version),
            other => Err(unexpected(&other)),
        }
    }

    /// Goes on with what another keeper has served.
    pub(super) fn resume(&self, handed: Handed, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.done(&Request::Resume { handed }, fds)
    }

    /// The keeper's process.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// From now on the endpoint's containers are let in, and get sockets.
    pub fn admit(&self, endpoint: EndpointKey) -> Result<()> {
        self.done(&Request::Admit { endpoint }, &[])
    }

    /// From now on they are not, and those that are in get ENETDOWN. Idempotent.
    pub fn dismiss(&self, endpoint: EndpointKey) -> Result<()> {
        self.done(&Request::Dismiss { endpoint }, &[])
    }

    /// Every endpoint that it knows.
    pub fn endpoints(&self) -> Result<Vec<Held>> {
        match self.ask(&Request::Endpoints, &[])? {
            Reply::Endpoints { endpoints } => Ok(endpoints),
            other => Err(unexpected(&other)),
        }
    }

    /// Counters of the hand-out of sockets, by name; they grow from 0 while the keeper runs.
    pub fn counters(&self) -> Result<Vec<(String, u64)>> {
        match self.ask(&Request::Counters, &[])? {
            Reply::Counters { counters } => Ok(counters),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets it keep `sockets` open, in place of what it has under that label.
    pub fn hold(&self, label: &str, sockets: &[OwnedFd]) -> Result<()> {
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        self.done(&Request::Hold { label: label.to_owned() }, &fds)
    }

    /// It closes what it holds under the label. Idempotent.
    pub fn release(&self, label: &str) -> Result<()> {
        self.done(&Request::Release { label: label.to_owned() }, &[])
    }

    /// What it holds.
    pub fn labels(&self) -> Result<Vec<String>> {
        match self.ask(&Request::Labels, &[])? {
            Reply::Labels { labels } => Ok(labels),
            other => Err(unexpected(&other)),
        }
    }

    /// Calls `happened` on a thread of its own for each event, and `None` if the keeper ends.
    pub fn watch(&self, happened: impl Fn(Option<KeeperEvent>) + Send + 'static) -> Result<KeeperWatch> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| failed("connect", error))?;
        let mut line = Line::new(stream.try_clone().map_err(|error| failed("dup", error))?);
        match ask(&mut line, &Request::Events, &[])? {
            Reply::Done => {}
            other => return Err(unexpected(&other)),
        }
        // After that: whatever comes from now on is told.
        let copies = (self.version()? >= WITH_COPIES).then(|| Copies::open(&self.socket)).transpose()?.map(Arc::new);
        let is_ending = Arc::<AtomicBool>::default();
        let (changes, changed) = channel();
        let receiver = {
            let is_ending = Arc::clone(&is_ending);
            // A keeper takes an agent that does not receive for a second for one that is gone: nothing waits in here.
            move || {
                while let Ok(Some((event, _))) = line.receive() {
                    // Nobody follows if there are no copies.
                    match event {
                        KeeperEvent::Changed => drop(changes.send(None)),
                        KeeperEvent::Unguarded { endpoint, .. } => drop(changes.send(Some(endpoint))),
                        _ => {}
                    }
                    happened(Some(event));
                }
                if !is_ending.load(Ordering::Acquire) {
                    happened(None);
                }
            }
        };
        let watch = |name: &str, body: Box<dyn FnOnce() + Send>| {
            spawn(name.into(), body)
                .map_err(|error| Error::system("clone", "start a thread that watches the keeper", error))
        };
        let follower = match &copies {
            Some(copies) => {
                let copies = Arc::clone(copies);
                Some(watch("sf-copies", Box::new(move || copies.follow_all(&changed)))?)
            }
            None => None,
        };
        let threads = [Some(watch("sf-keeper", Box::new(receiver))?), follower];
        Ok(KeeperWatch { stream, copies, is_ending, threads })
    }

    /// Ends the keeper, with every listener and dispenser that it holds, and waits for its end.
    pub fn stop(self) -> Result<()> {
        // One that does not answer is killed all the same.
        let _ = self.done(&Request::Stop, &[]);
        let told = Instant::now();
        let mut is_killed = false;
        while self.process.alive() {
            if told.elapsed() > END_TIMEOUT && !is_killed {
                is_killed = true;
                sys::process::kill(self.process.pid).map_err(|error| failed("kill", error))?;
            }
            std::thread::sleep(END_POLL);
        }
        // One that was killed has left them.
        if let Some(run_dir) = self.socket.parent() {
            for name in [SOCKET, SECCOMP_SOCKET, LOG] {
                let _ = std::fs::remove_file(run_dir.join(name));
            }
        }
        Ok(())
    }

    fn done(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.ask(request, fds)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_out_of_step() {
            // The answer to an earlier question, which took too long, may come in this conversation.
            *line = self.again()?.line.into_inner().unwrap_or_else(PoisonError::into_inner);
        }
        ask(&mut line, request, fds)
    }
}

impl KeeperWatch {
    /// Lets `next` go on with what the keeper that has ended has served. Endpoints whose programs get ENOSYS from now on, because
    /// that failed; `None` if nothing is known of them.
    pub fn hand_to(&self, next: &Keeper) -> Option<HashSet<EndpointKey>> {
        self.copies.as_ref().map(|copies| copies.hand_to(next))
    }

    /// No keeper will come: what waits for one ends.
    pub fn forget_copies(&self) {
        if let Some(copies) = &self.copies {
            copies.forget();
        }
    }
}

impl Drop for KeeperWatch {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        // The keeper may have ended.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            // A panic of the callback has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

fn ask(line: &mut Line, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
    ask_for(line, request, fds).map(|(reply, _)| reply)
}

/// As [`ask`], for answers that come with descriptors.
pub(super) fn ask_for(line: &mut Line, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>)> {
    line.send(request, fds).map_err(|error| failed("sendmsg", error))?;
    match line.receive().map_err(|error| failed("recvmsg", error))? {
        Some((Reply::Failed { reason }, _)) => Err(failed("recvmsg", io::Error::other(reason))),
        Some(answer) => Ok(answer),
        None => Err(failed("recvmsg", io::ErrorKind::UnexpectedEof.into())),
    }
}

pub(super) fn failed(syscall: &'static str, error: io::Error) -> Error {
    Error::system(syscall, "asking the node's keeper", error)
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    failed("recvmsg", io::Error::other(format!("an answer to another question: {reply:?}")))
}
