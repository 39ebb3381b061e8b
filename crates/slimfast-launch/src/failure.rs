//! What can go wrong before the command runs, and the exit code that says so.

use std::ffi::OsStr;
use std::fmt;
use std::io;

use slimfast_seccomp::install::InstallError;

const LAUNCHER_FAILED: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// A message for the user, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: i32,
}

impl Failure {
    pub(crate) fn launcher(message: impl Into<String>) -> Self {
        Failure { message: message.into(), exit_code: LAUNCHER_FAILED }
    }

    pub(crate) fn filter(error: InstallError) -> Self {
        Failure::launcher(error.to_string())
    }

    pub(crate) fn not_found(command: &OsStr) -> Self {
        Failure { message: format!("{}: command not found", command.display()), exit_code: NOT_FOUND }
    }

    /// execve(2) failed, or would.
    pub(crate) fn not_run(command: &OsStr, error: io::Error) -> Self {
        let exit_code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        Failure { message: format!("{}: {error}", command.display()), exit_code }
    }

    pub(crate) fn exit_code(&self) -> i32 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
