//! Owns a BPF file system of the node's own, where programs' links and maps are pinned: it is in the run directory, so that it
//! needs nothing of the host's (`/sys/fs/bpf` may be missing, or another one in the next mount namespace).

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::{Change, Journal};
use super::steps::step;
use super::undo::Undo;
use crate::datapath::pins::Pins;
use crate::error::{Error, Result};
use crate::sys;

/// A mounted BPF file system. Dropping it changes nothing; see [`BpfFs::remove`].
#[derive(Debug)]
pub struct BpfFs {
    directory: PathBuf,
    journal: Arc<Journal>,
}

impl BpfFs {
    /// Mounts one at `directory`, which is made.
    pub fn mount(directory: &Path, journal: &Arc<Journal>) -> Result<Self> {
        let change = Change::BpfFs { directory: directory.to_owned() };
        step("record the BPF file system")?;
        journal.record(change.clone())?;
        let mut undo = Undo::new();
        undo.push(|| {
            if recover_directory(directory).is_ok() {
                let _ = journal.forget(&change);
            }
        });
        step("make the directory of the BPF file system")?;
        fs::DirBuilder::new().mode(0o700).create(directory).map_err(|error| failed("mkdir", directory, error))?;
        step("mount the BPF file system")?;
        sys::mount::mount_bpf(directory).map_err(|error| failed("mount", directory, error))?;
        undo.commit();
        Ok(BpfFs { directory: directory.to_owned(), journal: Arc::clone(journal) })
    }

    /// The one that a former agent had mounted.
    pub fn adopt(directory: &Path, journal: &Arc<Journal>) -> Self {
        BpfFs { directory: directory.to_owned(), journal: Arc::clone(journal) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends everything that is pinned there, and the file system.
    pub fn remove(self) -> Result<()> {
        recover_directory(&self.directory)?;
        self.journal.forget(&Change::BpfFs { directory: self.directory })
    }
}

/// Other mount namespaces may have got the mount as well, so the pins are taken out first.
pub(super) fn recover_directory(directory: &Path) -> Result<()> {
    Pins::at(directory).remove()?;
    match sys::netns::unmount(directory) {
        Ok(()) => {}
        // It was never made, or never mounted.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {}
        Err(error) => return Err(failed("umount2", directory, error)),
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("rmdir", directory, error)),
        _ => Ok(()),
    }
}

fn failed(syscall: &'static str, directory: &Path, error: io::Error) -> Error {
    Error::system(syscall, format!("the BPF file system at {}", directory.display()), error)
}
