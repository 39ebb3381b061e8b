//! Owns the journal: what a process changes on its host is written down before it is changed, so that a run that was
//! killed can be undone exactly.
//!
//! One JSON file per run directory, replaced by an atomic rename and synced. It is gone once everything is undone. A
//! record says "may have been changed": undoing tolerates that it never happened. See [`recover`].

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod record;
mod recover;

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use self::record::{EndpointRecord, EndpointStage, NodeRecord, UplinkRecord};

pub(crate) use self::recover::undo_namespace;
pub use self::recover::{Recovered, recover};
use super::ports::{PortRange, Purpose};
use crate::error::{Error, Result};

/// File name of the journal in the run directory.
pub const FILE_NAME: &str = "journal.json";
const TEMPORARY_NAME: &str = "journal.json.new";
/// 1 had no record of the node.
const VERSIONS: RangeInclusive<u32> = 1..=2;

/// Something on the host that was, or was about to be, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// A namespace was created under this name.
    NetNs { name: String },
    /// These ports were added to `ip_local_reserved_ports` of the namespace with this cookie.
    ReservedPorts {
        netns_cookie: u64,
        #[serde(default)]
        purpose: Purpose,
        ranges: Vec<PortRange>,
    },
    /// This cgroup directory was created.
    Cgroup { directory: PathBuf },
    /// A BPF file system was mounted here, for pins.
    BpfFs { directory: PathBuf },
    /// A keeper was started for this run directory.
    Keeper { run_dir: PathBuf },
}

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub pid: u32,
    /// Since boot.
    pub start_time_ticks: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u32,
    /// Nothing of what is recorded here survives a reboot.
    boot_id: String,
    owner: Owner,
    changes: Vec<Change>,
    #[serde(default)]
    node: NodeRecord,
}

/// The journal of this process for one run directory.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    document: Mutex<Document>,
}

impl Journal {
    /// Starts an empty journal in `directory`, which is created with mode 0700. [`Error::Conflict`] when one is there:
    /// its owner lives, or it has crashed and [`recover`] must come first.
    pub fn begin(directory: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed("mkdir", directory, error))?;
        let _lock = lock(directory)?;
        if let Some(document) = read(directory)? {
            let holder = match document.owner.alive() {
                true => format!("the running process {}", document.owner.describe()),
                false => format!("a run that crashed (pid {}): recover it first", document.owner.pid),
            };
            return Err(Error::Conflict { what: format!("run directory {}", directory.display()), holder });
        }
        let document = Document {
            version: *VERSIONS.end(),
            boot_id: boot_id()?,
            owner: Owner::current()?,
            changes: Vec::new(),
            node: NodeRecord::default(),
        };
        write(directory, &document)?;
        Ok(Journal { directory: directory.to_owned(), document: Mutex::new(document) })
    }

    /// Goes on with the journal of an agent that is gone. [`Error::NotFound`] when there is none of this boot,
    /// [`Error::Conflict`] when its owner lives.
    pub fn adopt(directory: &Path) -> Result<Self> {
        let _lock = lock(directory)?;
        let none = || Error::NotFound { what: format!("a journal of this boot in {}", directory.display()) };
        let mut document = read(directory)?.ok_or_else(none)?;
        if document.owner.alive() {
            return Err(Error::Conflict {
                what: format!("run directory {}", directory.display()),
                holder: format!("the running process {}", document.owner.describe()),
            });
        }
        if document.boot_id != boot_id()? {
            return Err(none());
        }
        document.owner = Owner::current()?;
        document.version = *VERSIONS.end();
        write(directory, &document)?;
        Ok(Journal { directory: directory.to_owned(), document: Mutex::new(document) })
    }

    /// What a former agent of this boot has written about its node. `None` without one, and while it runs.
    pub fn peek(directory: &Path) -> Result<Option<NodeRecord>> {
        let boot_id = boot_id()?;
        let document = read(directory)?.filter(|document| document.boot_id == boot_id && !document.owner.alive());
        Ok(document.map(|document| document.node))
    }

    /// Leaves everything to the next agent, which finds the journal as that of one that is gone.
    pub fn abandon(&self) -> Result<()> {
        let mut document = self.document();
        document.owner = Owner { pid: 0, start_time_ticks: 0 };
        write(&self.directory, &document)
    }

    /// What the node consists of, for the next agent.
    pub fn node(&self) -> NodeRecord {
        self.document().node.clone()
    }

    /// Changes what the node consists of, or nothing.
    pub fn update_node(&self, update: impl FnOnce(&mut NodeRecord)) -> Result<()> {
        let mut document = self.document();
        let former = document.node.clone();
        update(&mut document.node);
        write(&self.directory, &document).inspect_err(|_| document.node = former)
    }

    /// Must come before the change itself. On failure nothing may be changed.
    pub fn record(&self, change: Change) -> Result<()> {
        let mut document = self.document();
        document.changes.push(change);
        write(&self.directory, &document).inspect_err(|_| drop(document.changes.pop()))
    }

    /// As [`Journal::record`], of a change that takes the place of `former`.
    pub fn replace(&self, former: &Change, change: Change) -> Result<()> {
        let mut document = self.document();
        let place = document.changes.iter().rposition(|recorded| recorded == former);
        let place = place.ok_or_else(|| Error::NotFound { what: format!("{former:?} in the journal") })?;
        document.changes[place] = change;
        write(&self.directory, &document).inspect_err(|_| document.changes[place] = former.clone())
    }

    /// Must come after the change was undone.
    pub fn forget(&self, change: &Change) -> Result<()> {
        self.forget_all(std::slice::from_ref(change))
    }

    /// As [`Journal::forget`] of each. On failure all of them stay.
    pub fn forget_all(&self, undone: &[Change]) -> Result<()> {
        let mut document = self.document();
        let mut rest = document.changes.clone();
        for change in undone {
            if let Some(position) = rest.iter().rposition(|recorded| recorded == change) {
                rest.remove(position);
            }
        }
        if rest.len() == document.changes.len() {
            return Ok(());
        }
        let former = std::mem::replace(&mut document.changes, rest);
        write(&self.directory, &document).inspect_err(|_| document.changes = former)
    }

    /// What is recorded now, oldest first.
    pub fn changes(&self) -> Vec<Change> {
        self.document().changes.clone()
    }

    /// Ends the journal: the file goes. [`Error::Conflict`] when something recorded is not undone yet.
    pub fn finish(&self) -> Result<()> {
        let document = self.document();
        if let Some(change) = document.changes.first() {
            return Err(Error::Conflict {
                what: format!("the end of journal {}", self.directory.join(FILE_NAME).display()),
                holder: format!("a change that is not undone: {change:?}"),
            });
        }
        remove(&self.directory)
    }

    fn document(&self) -> MutexGuard<'_, Document> {
        // Every change of the document is complete before anything can panic.
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the journal in `directory` is there although its owner has gone. False without a journal.
pub fn is_stale(directory: &Path) -> Result<bool> {
    Ok(read(directory)?.is_some_and(|document| !document.owner.alive()))
}

impl Owner {
    /// This process.
    pub fn current() -> Result<Self> {
        let pid = std::process::id();
        Self::of(pid).ok_or_else(|| Error::NotFound { what: format!("/proc/{pid}/stat") })
    }

    /// The process that has this id now, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Owner { pid, start_time_ticks: start_time_ticks(pid)? })
    }

    /// Whether that very process still runs.
    pub fn alive(&self) -> bool {
        start_time_ticks(self.pid) == Some(self.start_time_ticks)
    }

    fn describe(&self) -> String {
        match fs::read_to_string(format!("/proc/{}/comm", self.pid)) {
            Ok(name) => format!("{} (pid {})", name.trim_end(), self.pid),
            Err(_) => format!("pid {}", self.pid),
        }
    }
}

/// `None` for a process that is gone or a zombie: a zombie holds nothing any more.
fn start_time_ticks(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The name in parentheses may itself have spaces and parentheses. After it come fields 3 (state) and on.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        // Field 22.
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Changes with every boot.
fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH).map_err(|error| failed("read", Path::new(PATH), error))?;
    Ok(text.trim_end().to_owned())
}

/// Held while a journal is begun or recovered: two processes must not both find it theirs.
fn lock(directory: &Path) -> Result<File> {
    let file = File::open(directory).map_err(|error| failed("open", directory, error))?;
    file.lock().map_err(|error| failed("flock", directory, error))?;
    Ok(file)
}

fn read(directory: &Path) -> Result<Option<Document>> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("read", &path, error)),
    };
    let document = parse_document(&text).map_err(|error| failed("parse", &path, error.into()))?;
    if !VERSIONS.contains(&document.version) {
        return Err(Error::Conflict {
            what: format!("run directory {}", directory.display()),
            holder: format!("a journal of version {}, which this version cannot read", document.version),
        });
    }
    Ok(Some(document))
}

fn parse_document(text: &str) -> serde_json::Result<Document> {
    serde_json::from_str(text)
}

fn write(directory: &Path, document: &Document) -> Result<()> {
    let temporary = directory.join(TEMPORARY_NAME);
    let text = serde_json::to_vec_pretty(document).map_err(|error| failed("encode", &temporary, error.into()))?;
    let mut file = File::create(&temporary).map_err(|error| failed("open", &temporary, error))?;
    file.write_all(&text).map_err(|error| failed("write", &temporary, error))?;
    file.sync_all().map_err(|error| failed("fsync", &temporary, error))?;
    let path = directory.join(FILE_NAME);
    fs::rename(&temporary, &path).map_err(|error| failed("rename", &path, error))?;
    sync(directory)
}

fn remove(directory: &Path) -> Result<()> {
    let path = directory.join(FILE_NAME);
    fs::remove_file(&path).map_err(|error| failed("unlink", &path, error))?;
    sync(directory)
}

/// Makes a rename or removal in `directory` last.
fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| failed("fsync", directory, error))
}

fn failed(syscall: &'static str, path: &Path, error: io::Error) -> Error {
    Error::system(syscall, format!("journal: {}", path.display()), error)
}

#[cfg(test)]
mod tests;
