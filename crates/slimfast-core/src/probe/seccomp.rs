//! Owns trying out seccomp user notification: a filter with a listener on a thread that ends at once, and the two
//! requests on the listener that not every kernel has.

use std::fs::{self, File};
use std::io;
use std::thread;

use slimfast_seccomp::install::{InstallError, install};

use super::host::status_field;
use super::{Finding, Missing, missing};
use crate::sys::seccomp::SeccompListener;

const KERNEL_REMEDY: &str = "boot a kernel of 5.14 or later built with CONFIG_SECCOMP_FILTER";

/// A listener whose thread, the only one under its filter, has ended.
fn listener() -> Result<SeccompListener, Missing> {
    let failed = |detail: String| Missing { detail, remedy: KERNEL_REMEDY.to_owned() };
    let thread = thread::Builder::new().name("sf-probe".to_owned()).spawn(install);
    let installed = thread.map_err(|error| failed(error.to_string()))?.join();
    match installed {
        Ok(Ok(descriptor)) => SeccompListener::new(descriptor.listener, descriptor.is_wait_killable)
            .map_err(|_| failed("the kernel gave a listener that is none".to_owned())),
        Ok(Err(error @ InstallError::OtherListener)) => Err(Missing {
            detail: error.to_string(),
            remedy: "start SlimFast outside of that runtime or sandbox: the kernel allows one listener per process"
                .to_owned(),
        }),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the thread that installs a filter panicked".to_owned())),
    }
}

pub(super) fn notify() -> Finding {
    let listener = listener()?;
    // No notification has this id: a kernel that knows the request says so, another says EINVAL.
    const NO_NOTIFICATION: u64 = u64::MAX;
    let answered = File::open("/dev/null").and_then(|file| listener.hand_over(NO_NOTIFICATION, file.into(), true));
    match answered {
        Ok(_) => Ok("a listener, with atomic injection of descriptors".to_owned()),
        Err(error) => missing(no_injection(&error), KERNEL_REMEDY),
    }
}

fn no_injection(error: &io::Error) -> String {
    format!("the kernel cannot inject a descriptor and answer in one step: {error}")
}

pub(super) fn sync_wake_up() -> Finding {
    match listener()?.set_sync_wake_up() {
        true => Ok("targets and their supervisor can take turns on one CPU".to_owned()),
        false => {
            missing("sockets of the notify tier take about 30 us longer", "boot a kernel of 6.6 or later (optional)")
        }
    }
}

/// A filter around the agent may refuse what it needs; the other checks tell if it does.
pub(super) fn surrounding_filter() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match status_field(&status, "Seccomp") {
        Some("2") => missing(
            "this process runs under a seccomp filter",
            "nothing, if all other checks are well; otherwise start SlimFast outside of the container or sandbox",
        ),
        _ => Ok("none around this process".to_owned()),
    }
}
