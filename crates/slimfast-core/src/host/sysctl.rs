//! Owns reading and writing of network sysctls in a given namespace. `/proc/sys/net` shows the namespace of the thread
//! that opens it, so every access happens on a thread inside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use super::netns::NetNs;
use crate::error::{Error, Result};

/// The longest value: `ip_local_reserved_ports` with every second port. The kernel gives as much as one read(2) asks for,
/// and says of the rest that there is none.
const LONGEST_VALUE: usize = 256 * 1024;

/// A sysctl and its value. `if_present`: a kernel without it (IPv6 switched off, for example) needs no such setting.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Below /proc/sys/, for example "net/ipv4/ip_forward".
    pub path: String,
    pub value: &'static str,
    pub if_present: bool,
}

impl Setting {
    pub fn required(path: impl Into<String>, value: &'static str) -> Self {
        Setting { path: path.into(), value, if_present: false }
    }

    pub fn if_present(path: impl Into<String>, value: &'static str) -> Self {
        Setting { path: path.into(), value, if_present: true }
    }
}

/// Writes `settings` in `namespace`, in order.
pub fn set(namespace: &NetNs, settings: &[Setting]) -> Result<()> {
    namespace.run(|| {
        for setting in settings {
            match fs::write(file(&setting.path), setting.value) {
                Err(source) if source.kind() == io::ErrorKind::NotFound && setting.if_present => {}
                other => other.map_err(|source| {
                    Error::system("write", format!("setting {} to {:?}", setting.path, setting.value), source)
                })?,
            }
        }
        Ok(())
    })
}

/// The value of the sysctl `path` in the namespace of the calling thread, without its line end.
pub fn get_here(path: &str) -> Result<String> {
    let failed = |syscall, source| Error::system(syscall, format!("reading {path}"), source);
    let mut value = vec![0; LONGEST_VALUE];
    let length = File::open(file(path))
        .map_err(|source| failed("open", source))?
        .read(&mut value)
        .map_err(|source| failed("read", source))?;
    let text = std::str::from_utf8(&value[..length])
        .map_err(|source| failed("read", io::Error::new(io::ErrorKind::InvalidData, source)))?;
    Ok(text.trim_end().to_owned())
}

/// Sets the sysctl `path` in the namespace of the calling thread.
pub fn set_here(path: &str, value: &str) -> Result<()> {
    // The kernel ignores an empty write, so an empty value goes as an empty line.
    let line = format!("{value}\n");
    fs::write(file(path), line).map_err(|source| Error::system("write", format!("setting {path} to {value:?}"), source))
}

fn file(path: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(path)
}
