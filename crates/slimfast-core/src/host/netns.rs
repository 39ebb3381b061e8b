//! Owns network namespaces: naming them under /run/netns the way `ip netns` does, and running work inside one.
//!
//! A thread that has entered a namespace is thrown away afterwards: were it to fail to return, every later task on it
//! would act on the wrong network.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{panic, thread};

use super::undo::Undo;
use crate::error::{Error, Result};
use crate::sys;

/// Where `ip netns` keeps its names.
pub const DIRECTORY: &str = "/run/netns";
/// Longest name of a namespace, as a file name can be no longer.
pub const NAME_MAX_BYTES: usize = 255;
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// An open network namespace. It lives at least as long as this does. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetNs {
    descriptor: Arc<OwnedFd>,
    label: String,
}

impl NetNs {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self> {
        Self::open_file(Path::new(OWN_NAMESPACE), "the current network namespace".to_owned())
    }

    /// The namespace with this name under [`DIRECTORY`].
    pub fn open(name: &str) -> Result<Self> {
        check_name(name)?;
        Self::open_file(&path_of(name), format!("network namespace {name}"))
    }

    fn open_file(path: &Path, label: String) -> Result<Self> {
        match File::open(path) {
            Ok(file) => Ok(NetNs { descriptor: Arc::new(file.into()), label }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound { what: label }),
            Err(error) => Err(Error::system("open", format!("opening {label}"), error)),
        }
    }

    /// What to call it in messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Runs `work` on a fresh thread inside the namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_own_thread(|| {
            sys::netns::enter(self.descriptor.as_fd())
                .map_err(|error| Error::system("setns", format!("entering {}", self.label), error))?;
            work()
        })
    }

    /// The kernel's number for this namespace, never reused until the next boot.
    pub fn cookie(&self) -> Result<u64> {
        self.run(|| {
            sys::netns::cookie_of_current_thread()
                .map_err(|error| Error::system("getsockopt", "reading SO_NETNS_COOKIE", error))
        })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The file that names the namespace `name`.
pub fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Whether the name is taken, by a namespace or by anything else.
pub fn exists(name: &str) -> bool {
    fs::symlink_metadata(path_of(name)).is_ok()
}

/// Names of all namespaces under [`DIRECTORY`], sorted.
pub fn list() -> Result<Vec<String>> {
    /// A listing can end early when somebody deletes a name meanwhile (seen on the tmpfs of Linux 6.18).
    const ATTEMPTS_MAX: usize = 10;
    let mut names = list_once()?;
    for _ in 0..ATTEMPTS_MAX {
        let again = list_once()?;
        if again == names {
            break;
        }
        names = again;
    }
    Ok(names)
}

fn list_once() -> Result<Vec<String>> {
    let failed = |error| Error::system("readdir", format!("listing {DIRECTORY}"), error);
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is none of ours.
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Creates an empty namespace (its loopback down) with this name. [`Error::Conflict`] when the name is taken.
pub fn create(name: &str) -> Result<NetNs> {
    check_name(name)?;
    prepare_directory()?;
    let path = path_of(name);
    let context = || format!("creating network namespace {name}");
    let mut undo = Undo::new();
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Conflict {
                what: format!("network namespace name {name}"),
                holder: format!("{} (`ip netns delete {name}` frees it)", path.display()),
            });
        }
        Err(error) => return Err(Error::system("open", context(), error)),
    }
    let file = path.clone();
    undo.push(move || drop(fs::remove_file(file)));
    let namespace = on_own_thread(|| {
        sys::netns::unshare().map_err(|error| Error::system("unshare", context(), error))?;
        sys::netns::bind_mount(Path::new(OWN_NAMESPACE), &path, false)
            .map_err(|error| Error::system("mount", context(), error))?;
        NetNs::open_file(Path::new(OWN_NAMESPACE), format!("network namespace {name}"))
    })?;
    undo.commit();
    Ok(namespace)
}

/// Runs `work` on a fresh thread in an empty namespace without a name, which ends with it.
pub fn in_temporary<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| {
        sys::netns::unshare()
            .map_err(|error| Error::system("unshare", "creating a temporary network namespace", error))?;
        work()
    })
}

/// Takes the name away; the namespace ends with the last process and socket in it. [`Error::NotFound`] when there is none.
pub fn delete(name: &str) -> Result<()> {
    check_name(name)?;
    let path = path_of(name);
    match sys::netns::unmount(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotFound { what: format!("network namespace {name}") });
        }
        // Not mounted: a creation that was cut short left the file alone.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) => return Err(Error::system("umount2", format!("deleting network namespace {name}"), error)),
    }
    fs::remove_file(&path).map_err(|error| Error::system("unlink", format!("deleting network namespace {name}"), error))
}

/// Names become file names and appear in commands that people type, so they are kept plain.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(Error::invalid("netnsName", format!("must have 1 to {NAME_MAX_BYTES} characters: {name:?}")));
    }
    if !name.chars().all(plain) || name.starts_with(['.', '-']) {
        return Err(Error::invalid(
            "netnsName",
            format!("may have letters, digits, '.', '_' and '-', and starts with a letter, digit or '_': {name:?}"),
        ));
    }
    Ok(())
}

/// As `ip netns` does: /run/netns is a mount of its own that is shared, so that names made and deleted in one mount
/// namespace come and go in all of them.
fn prepare_directory() -> Result<()> {
    let directory = Path::new(DIRECTORY);
    let failed = |syscall, error| Error::system(syscall, format!("preparing {DIRECTORY}"), error);
    fs::create_dir_all(directory).map_err(|error| failed("mkdir", error))?;
    // Two processes that see no mount yet would otherwise stack two of them.
    let lock = File::open(directory).map_err(|error| failed("open", error))?;
    lock.lock().map_err(|error| failed("flock", error))?;
    match sys::netns::make_shared(directory) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::netns::bind_mount(directory, directory, true).map_err(|error| failed("mount", error))?;
            sys::netns::make_shared(directory).map_err(|error| failed("mount", error))
        }
        other => other.map_err(|error| failed("mount", error)),
    }
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("slimfast-netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|error| Error::system("clone", "starting a thread for a network namespace", error))?
            .join()
            .unwrap_or_else(|cause| panic::resume_unwind(cause))
    })
}

#[cfg(test)]
mod tests;
