//! Owns the journal: what a process changes on its host is written down before it is changed, so that a run that was
//! killed can be undone exactly.
//!
//! One JSON file per run directory, replaced by an atomic rename and synced. It is gone once everything is undone. A
//! record says "may have been changed": undoing tolerates that it never happened. See [`recover`].

mod recover;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use self::recover::{Recovered, recover};
use super::ports::PortRange;
use crate::error::{Error, Result};

/// File name of the journal in the run directory.
pub const FILE_NAME: &str = "journal.json";
const TEMPORARY_NAME: &str = "journal.json.new";
const VERSION: u32 = 1;

/// Something on the host that was, or was about to be, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// A namespace was created under this name.
    NetNs { name: String },
    /// These ports were added to `ip_local_reserved_ports` of the namespace with this cookie.
    ReservedPorts { netns_cookie: u64, ranges: Vec<PortRange> },
    /// This cgroup directory was created.
    Cgroup { directory: PathBuf },
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
        let document =
            Document { version: VERSION, boot_id: boot_id()?, owner: Owner::current()?, changes: Vec::new() };
        write(directory, &document)?;
        Ok(Journal { directory: directory.to_owned(), document: Mutex::new(document) })
    }

    /// Must come before the change itself. On failure nothing may be changed.
    pub fn record(&self, change: Change) -> Result<()> {
        let mut document = self.document();
        document.changes.push(change);
        write(&self.directory, &document).inspect_err(|_| drop(document.changes.pop()))
    }

    /// Must come after the change was undone.
    pub fn forget(&self, change: &Change) -> Result<()> {
        let mut document = self.document();
        let Some(position) = document.changes.iter().rposition(|recorded| recorded == change) else { return Ok(()) };
        let removed = document.changes.remove(position);
        write(&self.directory, &document).inspect_err(|_| document.changes.insert(position, removed))
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
        let start_time_ticks =
            start_time_ticks(pid).ok_or_else(|| Error::NotFound { what: format!("/proc/{pid}/stat") })?;
        Ok(Owner { pid, start_time_ticks })
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
    let document: Document = serde_json::from_str(&text).map_err(|error| failed("parse", &path, error.into()))?;
    if document.version != VERSION {
        return Err(Error::Conflict {
            what: format!("run directory {}", directory.display()),
            holder: format!("a journal of version {}, which this version cannot read", document.version),
        });
    }
    Ok(Some(document))
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
