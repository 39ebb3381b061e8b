//! Starts a command in an endpoint: enters its network namespace, installs the seccomp filter, hands the listener (and,
//! for the preload tier, one end of a dispenser) to the agent, and becomes the command by execve(2).
//!
//! Since it becomes the command, terminal, signals, process id and exit status are the command's own. Its own exit
//! codes are those of env(1): 125 if the launcher failed, 126 if the command can not be run, 127 if it was not found.
//!
//! It has one thread, and no standard library start-up: that would set SIGPIPE to be ignored, which the command would
//! inherit. Nothing here makes a TCP socket: the last step would then wait for an agent that waits for it.
#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

mod failure;
mod hand_over;
mod options;
mod preload;
mod program;
#[allow(unsafe_code)]
mod sys;

use failure::Failure;
use options::{Options, Parsed, Tier};
use program::Linkage;

/// Name of the preloaded library, looked for beside this program unless an option says where it is.
const PRELOAD_LIBRARY: &str = "libslimfast_preload.so";

/// Returns only if the command was not started.
fn start(arguments: Vec<OsString>) -> Result<(), Failure> {
    let options = match options::parse(arguments)? {
        Parsed::Run(options) => options,
        Parsed::Help => {
            print!("{}", options::USAGE);
            return Ok(());
        }
    };
    // Found first, so that nothing is set up for a command that does not exist.
    let program = program::find(&options.command[0])?;
    if options.tier == Tier::Plain {
        sys::enter_network(&options.netns)?;
        return Err(Failure::not_run(&options.command[0], sys::exec(&program, &options.command)));
    }
    let library = choose_library(&options, &program)?;
    // Connected before anything is entered: the path is the caller's.
    let agent = hand_over::connect(&options.seccomp_socket)?;
    sys::enter_network(&options.netns)?;
    let dispenser = library.map(preload::prepare).transpose()?;
    let installed = slimfast_seccomp::install::install().map_err(Failure::filter)?;
    hand_over::send(agent, &options.metadata, &installed, dispenser.as_ref().map(|d| &d.agents_end))?;
    if let Some(dispenser) = dispenser {
        dispenser.leave_to_command();
    }
    Err(Failure::not_run(&options.command[0], sys::exec(&program, &options.command)))
}

/// The library to preload, or `None` for the notify tier alone.
fn choose_library(options: &Options, program: &Path) -> Result<Option<PathBuf>, Failure> {
    if options.tier == Tier::Notify {
        return Ok(None);
    }
    let library = options.preload_library.clone().or_else(beside_this_program);
    let library = library.filter(|path| path.is_file());
    let dynamic = program::linkage(program) == Linkage::Dynamic;
    match (options.tier, dynamic, library) {
        (_, true, Some(library)) => Ok(Some(library)),
        (Tier::Preload, false, _) => Err(Failure::launcher(format!(
            "{} is not a dynamically linked program of this machine, so nothing can be preloaded into it: use --tier \
             notify, or auto",
            program.display()
        ))),
        (Tier::Preload, true, None) => Err(Failure::launcher(match &options.preload_library {
            Some(path) => format!("there is no preload library at {}", path.display()),
            None => format!("{PRELOAD_LIBRARY} is not beside slimfast-launch: say where it is with --preload-lib"),
        })),
        (Tier::Auto | Tier::Notify | Tier::Plain, ..) => Ok(None),
    }
}

fn beside_this_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name(PRELOAD_LIBRARY))
}

/// The exit code for these arguments, the program's own name excluded. Does not return if the command was started.
#[cfg_attr(test, allow(dead_code))]
fn run(arguments: Vec<OsString>) -> i32 {
    match start(arguments) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("slimfast-launch: {failure}");
            failure.exit_code()
        }
    }
}
