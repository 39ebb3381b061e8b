//! Which file a command is, and whether a library can be preloaded into it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Where execvp(3) looks if PATH is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// How many interpreters of interpreters are followed; the kernel's own limit.
const MAX_INTERPRETERS: usize = 5;
/// What execvp(3) starts for a file that the kernel does not know.
const SHELL: &str = "/bin/sh";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// An ELF program of this machine with a dynamic linker, which honours LD_PRELOAD.
    Dynamic,
    /// Anything else, what can not be read included.
    Other,
}

/// Finds the command as execvp(3) does.
pub(crate) fn find(command: &OsStr) -> Result<PathBuf, Failure> {
    if command.is_empty() {
        return Err(Failure::not_found(command));
    }
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(error) => Err(Failure::not_run(command, error)),
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut denied = None;
    for directory in std::env::split_paths(&search) {
        let path =
            if directory.as_os_str().is_empty() { Path::new(".").join(command) } else { directory.join(command) };
        match executable(&path) {
            Ok(()) => return Ok(path),
            // Kept in mind while the search goes on.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(denied.map_or_else(|| Failure::not_found(command), |error| Failure::not_run(command, error)))
}

fn executable(path: &Path) -> io::Result<()> {
    let status = path.metadata()?;
    // Whether this very user may is execve(2)'s decision; without any such bit it refuses even root.
    if status.is_file() && status.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EACCES))
    }
}

/// How the program that the kernel will in the end start for `path` is linked.
pub(crate) fn linkage(path: &Path) -> Linkage {
    let mut path = path.to_owned();
    for _ in 0..=MAX_INTERPRETERS {
        let Ok(mut file) = File::open(&path) else { return Linkage::Other };
        // As much as the kernel looks at.
        let mut head = Vec::with_capacity(256);
        if file.by_ref().take(256).read_to_end(&mut head).is_err() {
            return Linkage::Other;
        }
        if head.starts_with(b"\x7fELF") {
            return match has_dynamic_linker(&head, &mut file) {
                Ok(true) => Linkage::Dynamic,
                _ => Linkage::Other,
            };
        }
        path = interpreter(&head).unwrap_or_else(|| SHELL.into());
    }
    Linkage::Other
}

/// The program that a script's first line names.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|&b| b == b'\n').next()?.trim_ascii();
    let name = line.split(|&b| b == b' ' || b == b'\t').next().filter(|name| !name.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const PT_INTERP: u32 = 3;
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
/// Most program headers that are looked at.
const MAX_HEADERS: usize = 256;

/// Whether an ELF file is for this machine and has a PT_INTERP header.
fn has_dynamic_linker(head: &[u8], file: &mut File) -> io::Result<bool> {
    let Some(header) = head.first_chunk::<64>() else { return Ok(false) };
    let two = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if header[4] != ELFCLASS64 || header[5] != ELFDATA2LSB || two(18) != MACHINE {
        return Ok(false);
    }
    let offset = header[32..40].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let (size, count) = (usize::from(two(54)), usize::from(two(56)).min(MAX_HEADERS));
    if size < 4 {
        return Ok(false);
    }
    let mut headers = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take((size * count) as u64).read_to_end(&mut headers)?;
    Ok(headers.chunks_exact(size).any(|h| h[..4] == PT_INTERP.to_le_bytes()))
}

#[cfg(test)]
mod tests;
