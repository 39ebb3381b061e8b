//! The one error type: which call failed, on which address, with which errno. All are fatal.

use std::io;
use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on a connection or a listener failed.
    #[error("{call} {address}: {}", describe(.source))]
    Socket { call: &'static str, address: SocketAddr, source: io::Error },
    /// A call that belongs to no address failed.
    #[error("{call}: {}", describe(.source))]
    System { call: &'static str, source: io::Error },
    /// The peer ended the connection or sent something else than agreed.
    #[error("{address}: {reason}")]
    Peer { address: SocketAddr, reason: &'static str },
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl Error {
    /// For `map_err`.
    pub fn socket(call: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> Error {
        move |source| Error::Socket { call, address, source }
    }

    pub fn system(call: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::System { call, source }
    }
}

/// "ECONNREFUSED: Connection refused". Scripts look for the name, people read the rest.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    match error.raw_os_error() {
        Some(errno) => format!("{}: {text}", errno_name(errno)),
        None => text,
    }
}

/// The names that the calls made here can end with.
fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EAGAIN => "EAGAIN",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENFILE => "ENFILE",
        libc::ENOENT => "ENOENT",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOMEM => "ENOMEM",
        libc::ENOSYS => "ENOSYS",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_call_the_address_and_the_errno() {
        let address = "10.32.0.3:7000".parse().unwrap();
        let error = Error::socket("connect", address)(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(error.to_string(), "connect 10.32.0.3:7000: ECONNREFUSED: Connection refused");
    }

    #[test]
    fn an_error_without_errno_is_its_text() {
        let error = Error::system("read")(io::Error::other("odd"));
        assert_eq!(error.to_string(), "read: odd");
    }
}
