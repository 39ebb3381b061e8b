//! The command line. Pure.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::failure::Failure;

pub(crate) const USAGE: &str = "\
usage: slimfast-launch --netns PATH --seccomp-socket PATH --metadata TEXT
                       [--tier auto|notify|preload|plain] [--preload-lib PATH] [--] COMMAND [ARGUMENT...]

Starts COMMAND in an endpoint. `slimfast run` calls this; its exit code is the command's own, or
125 if the launcher failed, 126 if COMMAND can not be run, 127 if it was not found.

  --netns PATH           network namespace of the endpoint
  --seccomp-socket PATH  socket on which the agent takes seccomp listeners
  --metadata TEXT        the endpoint's listener metadata
  --tier TIER            how TCP sockets reach the command (default auto: preload if COMMAND is
                         dynamically linked; notify is always beneath it; plain: COMMAND keeps
                         the sockets of the endpoint's own namespace)
  --preload-lib PATH     the preloaded library (default: beside this program)
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Auto,
    Notify,
    Preload,
    /// Not accelerated: neither filter nor listener.
    Plain,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub netns: PathBuf,
    pub seccomp_socket: PathBuf,
    pub metadata: String,
    pub tier: Tier,
    pub preload_library: Option<PathBuf>,
    /// The command and its arguments: at least one.
    pub command: Vec<OsString>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Run(Options),
    Help,
}

/// Reads the arguments, the program's own name excluded. `--option VALUE` and `--option=VALUE` are the same.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Parsed, Failure> {
    let (mut netns, mut seccomp_socket, mut metadata, mut tier, mut preload_library) = (None, None, None, None, None);
    let mut rest = arguments.into_iter().peekable();
    while let Some(argument) = rest.next_if(|a| a.as_encoded_bytes().starts_with(b"-")) {
        let (name, value) = match split_at_equals(&argument) {
            Some((name, value)) => (name.to_owned(), Some(value)),
            None => (argument, None),
        };
        let slot = match name.to_str() {
            Some("--") => break,
            Some("--help" | "-h") => return Ok(Parsed::Help),
            Some("--netns") => &mut netns,
            Some("--seccomp-socket") => &mut seccomp_socket,
            Some("--metadata") => &mut metadata,
            Some("--tier") => &mut tier,
            Some("--preload-lib") => &mut preload_library,
            _ => return Err(Failure::launcher(format!("unknown option {}\n{USAGE}", name.display()))),
        };
        let value = value.or_else(|| rest.next()).ok_or_else(|| misses(&name, "a value"))?;
        *slot = Some(value);
    }
    let required = |value: Option<OsString>, name| value.ok_or_else(|| misses(OsStr::new(name), "to be given"));
    let metadata =
        required(metadata, "--metadata")?.into_string().map_err(|_| Failure::launcher("--metadata has to be UTF-8"))?;
    let tier = match tier.as_deref().map(OsStr::to_str) {
        None | Some(Some("auto")) => Tier::Auto,
        Some(Some("notify")) => Tier::Notify,
        Some(Some("preload")) => Tier::Preload,
        Some(Some("plain")) => Tier::Plain,
        Some(_) => return Err(Failure::launcher("--tier has to be auto, notify, preload or plain")),
    };
    let options = Options {
        netns: required(netns, "--netns")?.into(),
        seccomp_socket: required(seccomp_socket, "--seccomp-socket")?.into(),
        metadata,
        tier,
        preload_library: preload_library.map(PathBuf::from),
        command: rest.collect(),
    };
    if options.command.is_empty() {
        return Err(Failure::launcher(format!("there is no command to start\n{USAGE}")));
    }
    Ok(Parsed::Run(options))
}

fn misses(name: &OsStr, what: &str) -> Failure {
    Failure::launcher(format!("{} needs {what}\n{USAGE}", name.display()))
}

fn split_at_equals(argument: &OsStr) -> Option<(&OsStr, OsString)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = argument.as_bytes();
    let at = bytes.iter().position(|&b| b == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed, String> {
        parse(line.split_whitespace().map(OsString::from).collect()).map_err(|f| f.to_string())
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Parsed::Run(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_can_be_given() {
        let read = options("--netns /n --seccomp-socket=/s --metadata m=1 --tier preload --preload-lib /l -- ls -l --");
        let expected = Options {
            netns: "/n".into(),
            seccomp_socket: "/s".into(),
            metadata: "m=1".into(),
            tier: Tier::Preload,
            preload_library: Some("/l".into()),
            command: ["ls", "-l", "--"].map(OsString::from).to_vec(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_tier_is_auto_and_the_dashes_may_be_left_out() {
        let read = options("--metadata=a=b --netns /n --seccomp-socket /s ls --tier x");
        assert_eq!((read.tier, read.metadata.as_str()), (Tier::Auto, "a=b"));
        assert_eq!(read.command, ["ls", "--tier", "x"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let all = "--netns /n --seccomp-socket /s --metadata m";
        for (line, named) in [
            ("", "--metadata"),
            ("--netns /n --metadata m -- ls", "--seccomp-socket"),
            ("--seccomp-socket /s --metadata m ls", "--netns"),
            ("--netns", "--netns"),
            ("--nets /n", "--nets"),
            (all, "no command"),
            (&format!("{all} --"), "no command"),
            (&format!("{all} --tier fast ls"), "--tier"),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.contains(named), "{line}: {message}");
        }
    }

    #[test]
    fn help_is_not_an_error() {
        assert_eq!(parsed("--netns /n --help"), Ok(Parsed::Help));
    }
}
