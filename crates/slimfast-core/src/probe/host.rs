//! Owns looking at what surrounds the process: privileges, cgroups, limits, what earlier runs left.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, missing};
use crate::host::{cgroup, journal};

/// Name of the check that all privileged ones depend on.
pub(super) const PRIVILEGES: &str = "host.privileges";
/// Where `slimfast up` keeps its run directories, one below the other.
const RUN_ROOT: &str = "/run/slimfast";
/// Names another one, for the command line as well.
const RUN_ROOT_VARIABLE: &str = "SLIMFAST_RUN_DIR";
/// A socket per connection, a pool per endpoint: below this a busy node runs out.
const DESCRIPTORS_MIN: u64 = 65_536;

/// Bits of linux/capability.h. CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN")];

pub(super) fn privileges() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lacking = lacking_capabilities(&status);
    match lacking.is_empty() {
        true => Ok(CAPABILITIES.map(|(_, name)| name).join(", ")),
        false => missing(format!("the process lacks {}", lacking.join(", ")), "run as root"),
    }
}

fn lacking_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status_field(status, "CapEff").and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
    CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

/// The value of a line of /proc/PID/status.
pub(super) fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

pub(super) fn cgroup2() -> Finding {
    let mount = cgroup::find_mount()?;
    match cgroup::Temporary::create("slimfast-probe") {
        Ok(_) => Ok(format!("mounted on {}", mount.display())),
        Err(error) => missing(error.to_string(), format!("make {} writable: mount -o remount,rw {0}", mount.display())),
    }
}

pub(super) fn descriptors() -> Finding {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match hard_descriptor_limit(&limits) {
        Some(limit) if limit >= DESCRIPTORS_MIN => Ok(format!("up to {limit} open descriptors")),
        Some(limit) => missing(
            format!("at most {limit} open descriptors, {DESCRIPTORS_MIN} are wanted"),
            format!("raise the hard limit: ulimit -Hn {DESCRIPTORS_MIN}, or LimitNOFILE= of the systemd unit"),
        ),
        None => missing("/proc/self/limits cannot be read", "mount proc on /proc"),
    }
}

/// The agent raises the soft limit to the hard one by itself.
fn hard_descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

pub(super) fn stale_run() -> Finding {
    let root = std::env::var_os(RUN_ROOT_VARIABLE).unwrap_or_else(|| RUN_ROOT.into());
    stale_below(Path::new(&root))
}

fn stale_below(root: &Path) -> Finding {
    let mut directories = vec![root.to_owned()];
    directories.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
    let (mut stale, mut unreadable): (Vec<PathBuf>, Option<String>) = (Vec::new(), None);
    for directory in directories {
        match journal::is_stale(&directory) {
            Ok(true) => stale.push(directory),
            Ok(false) => {}
            Err(error) => unreadable = Some(error.to_string()),
        }
    }
    match (stale.is_empty(), unreadable) {
        (true, None) => Ok("no run has left anything behind".to_owned()),
        (true, Some(error)) => missing(error, "remove the journal once what it names is gone"),
        (false, _) => {
            let places: Vec<String> = stale.iter().map(|directory| directory.display().to_string()).collect();
            missing(
                format!("a run that crashed has left changes on this host: {}", places.join(", ")),
                "`slimfast down` undoes them, and so does the next `slimfast up`",
            )
        }
    }
}

#[cfg(test)]
mod tests;
