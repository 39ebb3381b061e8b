//! The one error type that leaves this crate, and how each kind is to be handled.
//!
//! Modules with richer failures keep their own enum and convert at their edge.

use std::io;

/// A failure of the core. The `Display` text says what happened and, where it can be known, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the caller's input is wrong.
    #[error("{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    /// The host lacks something that SlimFast needs.
    #[error("{feature} is not available on this host: {remedy}")]
    Unsupported { feature: String, remedy: String },
    /// Something is taken by somebody else.
    #[error("{what} is taken by {holder}")]
    Conflict { what: String, holder: String },
    /// Something that the caller named does not exist.
    #[error("{what} does not exist")]
    NotFound { what: String },
    /// A system call failed. `context` says what it was for.
    #[error("{context}: {syscall}: {source}")]
    System { syscall: &'static str, context: String, source: io::Error },
    /// The node was closed.
    #[error("the node is closed")]
    Closed,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failed system call, from `errno`.
    pub fn last_os(syscall: &'static str, context: impl Into<String>) -> Self {
        Self::system(syscall, context, io::Error::last_os_error())
    }

    pub fn system(syscall: &'static str, context: impl Into<String>, source: io::Error) -> Self {
        Error::System { syscall, context: context.into(), source }
    }

    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Error::Invalid { field, reason: reason.into() }
    }

    /// `errno` of a failed system call.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// The name of an errno that a program gets from a TCP socket, for example `ECONNREFUSED`; the number for any other.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::ETIMEDOUT => "ETIMEDOUT",
        other => return other.to_string(),
    };
    name.to_owned()
}
