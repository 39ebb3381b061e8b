//! The keeper of a node (`slimfast_core::keeper`), as the agent starts it: `slimfast-keeper RUN_DIR CGROUP`.
//!
//! The first process starts a second one and ends, so that the keeper is nobody's child: whoever ends the agent, with all that
//! it has started, does not find it.
#![deny(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

const DETACHED: &str = "--detached";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match &arguments[..] {
        [mark, run_dir, cgroup] if mark == DETACHED => {
            slimfast_core::keeper::run(Path::new(run_dir), Path::new(cgroup)).map_err(|error| error.to_string())
        }
        [_, _] => detach(&arguments),
        _ => Err("usage: slimfast-keeper RUN_DIR CGROUP; it is started by the agent".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slimfast-keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn detach(arguments: &[OsString]) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| format!("finding itself: {error}"))?;
    let started = Command::new(own).arg(DETACHED).args(arguments).spawn();
    started.map(drop).map_err(|error| format!("starting itself: {error}"))
}
