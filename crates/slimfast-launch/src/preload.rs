//! What the preload tier needs in the command: a dispenser's end at a descriptor that programs do not step on, and two
//! variables in its environment.

use std::ffi::OsString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use slimfast_seccomp::protocol::{DISPENSER_ENV, DispenserName};

use crate::failure::Failure;
use crate::sys;

/// A dispenser that nobody serves yet.
pub(crate) struct Prepared {
    /// Goes to the agent.
    pub agents_end: OwnedFd,
    commands_end: OwnedFd,
    name: DispenserName,
    library: PathBuf,
}

/// Makes the pair.
pub(crate) fn prepare(library: PathBuf) -> Result<Prepared, Failure> {
    // The dynamic linker splits LD_PRELOAD there, and has no way to quote.
    if library.as_os_str().as_bytes().iter().any(|&b| b == b':' || b == b' ') {
        let path = library.display();
        return Err(Failure::launcher(format!(
            "LD_PRELOAD can not hold the path {path}: it has a colon or a blank in it"
        )));
    }
    // The command may change its directory before the library is loaded again by its children.
    let library = std::path::absolute(library).map_err(|e| Failure::launcher(format!("the preload library: {e}")))?;
    let (agents_end, commands_end, name) =
        sys::dispenser_pair().map_err(|e| Failure::launcher(format!("making a dispenser: {e}")))?;
    Ok(Prepared { agents_end, commands_end, name, library })
}

impl Prepared {
    /// Leaves the command's end open across execve(2), and says so in the environment.
    pub(crate) fn leave_to_command(self) {
        let mut preload = self.library.into_os_string();
        if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|value| !value.is_empty()) {
            preload.push(":");
            preload.push(others);
        }
        sys::set_environment("LD_PRELOAD", &preload);
        sys::set_environment(DISPENSER_ENV, &OsString::from(self.name.to_string()));
        // Not closed: it is the command's from now on.
        let _ = self.commands_end.into_raw_fd();
    }
}
