//! Owns the node's cgroup: the programs are attached to it, and sockets belong to the cgroup of whoever creates them, which
//! is the node's keeper.
//!
//! The version-2 hierarchy may be mounted anywhere, beside version 1; it is looked up, never assumed.
//!
//! Several agents may share an outer cgroup ("slimfast" of "slimfast/node-1"). Whoever creates one marks it, and the
//! last to leave removes what is marked; a cgroup that was there before stays.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::journal::{Change, Journal};
use super::steps::step;
use super::undo::Undo;
use crate::error::{Error, Result};
use crate::sys::xattr::{is_marked, mark};

const PROCS: &str = "cgroup.procs";
/// Extended attribute of cgroups that an agent has created.
const MARK: &CStr = c"trusted.slimfast";
/// How long a cgroup may take to become empty: ended processes leave it only when the kernel has let go of them.
const EMPTYING_TIMEOUT: Duration = Duration::from_secs(2);
const EMPTYING_POLL: Duration = Duration::from_millis(10);

/// A node's cgroup. Dropping it changes nothing; see [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
    /// What had to be created, outermost first.
    created: Vec<PathBuf>,
    journal: Arc<Journal>,
}

impl Cgroup {
    /// Creates the cgroup `path` (below the mount, for example "slimfast/node-1"). Existing directories are used as they are.
    pub fn create(path: &str, journal: &Arc<Journal>) -> Result<Self> {
        let mount = find_mount()?;
        let relative = check_path(path)?;
        let mut undo = Undo::new();
        let mut created = Vec::new();
        let mut directory = mount;
        for part in relative.components() {
            directory.push(part);
            if directory.is_dir() {
                continue;
            }
            step("create the cgroup")?;
            if create(&directory, journal, &mut undo)? {
                created.push(directory.clone());
            }
        }
        undo.commit();
        Ok(Cgroup { directory, created, journal: Arc::clone(journal) })
    }

    /// The cgroup `path` that a former agent had created, as its journal says.
    pub fn adopt(path: &str, journal: &Arc<Journal>) -> Result<Self> {
        let directory = find_mount()?.join(check_path(path)?);
        if !directory.is_dir() {
            return Err(Error::NotFound { what: format!("the cgroup {}", directory.display()) });
        }
        let created = journal.changes().into_iter().filter_map(|change| match change {
            Change::Cgroup { directory } => Some(directory),
            _ => None,
        });
        Ok(Cgroup { created: created.collect(), directory, journal: Arc::clone(journal) })
    }

    /// For attaching programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes what was created, except outer cgroups that others still use. [`Error::Conflict`] names processes that are
    /// still in the cgroup itself.
    pub fn remove(self) -> Result<()> {
        if self.created.contains(&self.directory) {
            remove_directory(&self.directory)?;
        }
        remove_marked_above(&self.directory);
        for directory in self.created.into_iter().rev() {
            self.journal.forget(&Change::Cgroup { directory })?;
        }
        Ok(())
    }
}

/// An empty cgroup of the process's own, for trying things out. Goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Several at once may have one `prefix`.
    pub fn create(prefix: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = find_mount()?.join(name);
        make_directory(&directory)?;
        Ok(Temporary(directory))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody was ever in it, so there is nothing that could keep it.
        let _ = remove_directory(&self.0);
    }
}

/// Where the cgroup version 2 hierarchy is mounted. [`Error::Unsupported`] when it is not.
pub fn find_mount() -> Result<PathBuf> {
    const PATH: &str = "/proc/self/mountinfo";
    let text = fs::read_to_string(PATH).map_err(|error| Error::system("read", format!("reading {PATH}"), error))?;
    mount_in(&text).ok_or_else(|| Error::Unsupported {
        feature: "cgroup version 2".to_owned(),
        remedy: "mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned(),
    })
}

/// Moves a process, with all its threads, into a cgroup.
pub fn move_process(pid: u32, directory: &Path) -> Result<()> {
    let file = directory.join(PROCS);
    fs::write(&file, pid.to_string())
        .map_err(|error| Error::system("write", format!("moving process {pid} into {}", directory.display()), error))
}

/// Removes a cgroup of a crashed run, and what is marked above it. One that others have cgroups in is left to them.
pub(super) fn recover_directory(directory: &Path) -> Result<()> {
    let shared = fs::read_dir(directory).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
    });
    if !shared || !is_marked(directory, MARK) {
        remove_directory(directory)?;
        remove_marked_above(directory);
    }
    Ok(())
}

/// Removes outer cgroups that an agent has created, as far as nobody uses them.
fn remove_marked_above(directory: &Path) {
    let mut outer = directory.parent();
    while let Some(directory) = outer
        && is_marked(directory, MARK)
        && fs::remove_dir(directory).is_ok()
    {
        outer = directory.parent();
    }
}

/// Removes the cgroup once it is empty; none there is fine.
fn remove_directory(directory: &Path) -> Result<()> {
    let deadline = Instant::now() + EMPTYING_TIMEOUT;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if Instant::now() >= deadline {
                    return Err(busy(directory));
                }
                thread::sleep(EMPTYING_POLL);
            }
            Err(error) => {
                return Err(Error::system("rmdir", format!("removing cgroup {}", directory.display()), error));
            }
        }
    }
}

fn busy(directory: &Path) -> Error {
    let pids = fs::read_to_string(directory.join(PROCS)).unwrap_or_default();
    let pids: Vec<&str> = pids.split_ascii_whitespace().collect();
    let holder = if pids.is_empty() { "cgroups below it".to_owned() } else { format!("processes {}", pids.join(", ")) };
    Error::Conflict { what: format!("cgroup {}", directory.display()), holder }
}

/// False when somebody else was faster.
fn create(directory: &Path, journal: &Arc<Journal>, undo: &mut Undo<'_>) -> Result<bool> {
    let change = Change::Cgroup { directory: directory.to_owned() };
    journal.record(change.clone())?;
    match make_directory(directory) {
        Ok(()) => {}
        Err(error) => {
            journal.forget(&change)?;
            return if error.errno() == Some(libc::EEXIST) { Ok(false) } else { Err(error) };
        }
    }
    let (strike, doomed) = (Arc::clone(journal), directory.to_owned());
    undo.push(move || {
        if remove_directory(&doomed).is_ok() {
            let _ = strike.forget(&change);
        }
    });
    // Without the mark the cgroup works all the same; an outer one would stay, empty, if another agent left last.
    let _ = mark(directory, MARK);
    Ok(true)
}

fn make_directory(directory: &Path) -> Result<()> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EROFS) => Err(Error::Unsupported {
            feature: "creating cgroups".to_owned(),
            remedy: format!(
                "the cgroup2 mount is read-only: remount it, or give the container a writable one ({})",
                directory.display()
            ),
        }),
        Err(error) => Err(Error::system("mkdir", format!("creating cgroup {}", directory.display()), error)),
    }
}

fn check_path(path: &str) -> Result<&Path> {
    let relative = Path::new(path);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain {
        return Err(Error::invalid(
            "cgroup",
            format!("must be a path below the cgroup mount, such as slimfast/node-1: {path:?}"),
        ));
    }
    Ok(relative)
}

/// First cgroup2 mount of a mountinfo file that shows the root of its hierarchy.
fn mount_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        // "31 23 0:28 ROOT MOUNT_POINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER_OPTIONS"
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (file_system.split(' ').next()? == "cgroup2" && root == "/").then(|| PathBuf::from(unescape(point)))
    })
}

/// mountinfo writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests;
