//! Messages over a stream socket: each is one line of JSON, and descriptors come with its first byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use slimfast_seccomp::scm;

/// Longest message: a listing of all the endpoints that a node can have has a quarter of it.
const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// One end of a conversation in which each side waits for the other's message before it sends the next, so that a message's
/// descriptors can not be taken for another's.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    received: Vec<u8>,
    /// An answer may come to what was sent.
    is_owed: bool,
}

impl Line {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), is_owed: false }
    }

    #[cfg(test)]
    fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// `None`: for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    /// Whether an answer that was given up may still come, and would be taken for the next one's.
    pub fn is_out_of_step(&self) -> bool {
        self.is_owed
    }

    pub fn send(&mut self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.is_owed = true;
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(b'\n');
        let mut rest = &bytes[..];
        let mut fds = fds;
        while !rest.is_empty() {
            let sent = scm::send(self.stream.as_fd(), rest, fds, 0)?;
            rest = &rest[sent..];
            fds = &[];
        }
        Ok(())
    }

    /// `None` at the end of the conversation.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                self.is_owed = false;
                return Ok(Some((serde_json::from_slice(&line)?, fds)));
            }
            if self.received.len() > MESSAGE_MAX_BYTES {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            let mut buffer = [0; 8192];
            let part = scm::receive(self.stream.as_fd(), &mut buffer)?;
            fds.extend(part.fds);
            if fds.len() > scm::MAX_FDS {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            match part.length {
                0 if self.received.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one), Line::new(other))
    }

    #[test]
    fn messages_come_whole_and_with_their_descriptors() {
        let (mut one, mut other) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        let long = "x".repeat(100_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                one.send(&"first", &[file.as_fd(), file.as_fd()]).unwrap();
                one.send(&long, &[]).unwrap();
            });
            let (first, fds) = other.receive::<String>().unwrap().unwrap();
            assert_eq!((first.as_str(), fds.len()), ("first", 2));
            let (second, fds) = other.receive::<String>().unwrap().unwrap();
            assert_eq!((second, fds.len()), (long.clone(), 0));
        });
        drop(one);
        assert!(other.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn an_answer_that_does_not_come_in_time_puts_it_out_of_step() {
        let (mut one, mut other) = pair();
        one.set_timeout(Some(Duration::from_millis(1))).unwrap();
        one.send(&"question", &[]).unwrap();
        assert!(one.receive::<String>().is_err());
        assert!(one.is_out_of_step());
        other.receive::<String>().unwrap();
        other.send(&"answer", &[]).unwrap();
        one.set_timeout(None).unwrap();
        assert_eq!(one.receive::<String>().unwrap().unwrap().0, "answer");
        assert!(!one.is_out_of_step());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        use std::io::Write;
        for bytes in [&b"no json\n"[..], b"\"cut off", b"\xff\n"] {
            let (one, mut other) = pair();
            one.stream().write_all(bytes).unwrap();
            drop(one);
            assert!(other.receive::<String>().is_err(), "{bytes:?}");
        }
        let (one, mut other) = pair();
        std::thread::spawn(move || while one.stream().write_all(&[b'x'; 4096]).is_ok() {});
        assert!(other.receive::<String>().is_err(), "endless");
    }
}
