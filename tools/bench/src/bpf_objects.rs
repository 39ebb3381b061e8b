//! What the data path's programs cost and what its maps hold, asked of the kernel. Which of the machine's programs and
//! maps are meant is told by the processes that hold them, the agents.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::sys::bpf::{self, EmptyProgram, Map, Program, RunTime};

/// Right before and right after the data path's ingress hook, which has 50: whichever program runs first for a packet
/// finds the statistics' own code and data out of the caches.
const EMPTY_PRIORITIES: [i32; 2] = [49, 51];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsReport {
    mode: &'static str,
    programs: Vec<ProgramReport>,
    /// A program that does nothing, twice for each packet.
    empty_on_packets: RunTimeReport,
    /// A program that does nothing, for each call of sockops.
    empty_on_sockets: RunTimeReport,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgramReport {
    pid: u32,
    name: String,
    #[serde(flatten)]
    run_time: RunTimeReport,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunTimeReport {
    run_count: u64,
    run_time_ns: u64,
}

impl From<RunTime> for RunTimeReport {
    fn from(RunTime { count, ns }: RunTime) -> Self {
        Self { run_count: count, run_time_ns: ns }
    }
}

/// Statistics are on while this lives.
pub struct Statistics {
    programs: Vec<(u32, Program)>,
    empty_on_packets: EmptyProgram,
    empty_on_sockets: EmptyProgram,
    _enabled: OwnedFd,
}

impl Statistics {
    /// The empty programs run in the network namespace of the calling thread, and for the sockets of `cgroup`.
    pub fn start(pids: &[u32], cgroup: &Path) -> Result<Self, Error> {
        let mut programs = Vec::new();
        for &pid in pids {
            for id in ids(pid, "prog_id")? {
                programs.push((pid, Program::open(id).map_err(Error::system("bpf(PROG_GET_FD_BY_ID)"))?));
            }
        }
        let cgroup = File::open(cgroup).map_err(Error::system("open the cgroup"))?;
        let empty_on_packets =
            EmptyProgram::on_packets(&EMPTY_PRIORITIES).map_err(Error::system("bpf(empty netfilter program)"))?;
        let empty_on_sockets =
            EmptyProgram::on_sockets(&cgroup).map_err(Error::system("bpf(empty sockops program)"))?;
        let enabled = bpf::enable_run_time_statistics().map_err(Error::system("bpf(ENABLE_STATS)"))?;
        Ok(Self { programs, empty_on_packets, empty_on_sockets, _enabled: enabled })
    }

    pub fn report(&self) -> Result<StatisticsReport, Error> {
        let error = Error::system("bpf(OBJ_GET_INFO_BY_FD)");
        let programs = self
            .programs
            .iter()
            .map(|(pid, program)| {
                Ok(ProgramReport { pid: *pid, name: program.name.clone(), run_time: program.run_time()?.into() })
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(&error)?;
        let empty_on_packets = self.empty_on_packets.run_time().map_err(&error)?.into();
        let empty_on_sockets = self.empty_on_sockets.run_time().map_err(&error)?.into();
        Ok(StatisticsReport { mode: "bpf-stats", programs, empty_on_packets, empty_on_sockets })
    }

    /// Calls `print` at once and for each line on stdin, until it ends.
    pub fn report_on_request(&self, print: impl Fn(&StatisticsReport) -> Result<(), Error>) -> Result<(), Error> {
        print(&self.report()?)?;
        for line in io::stdin().lock().lines() {
            line.map_err(Error::system("read"))?;
            print(&self.report()?)?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapsReport {
    mode: &'static str,
    maps: Vec<MapReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapReport {
    pid: u32,
    name: String,
    entries: u64,
}

/// Entries of the maps that grow and shrink.
pub fn maps(pids: &[u32]) -> Result<MapsReport, Error> {
    let mut maps = Vec::new();
    for &pid in pids {
        for id in ids(pid, "map_id")? {
            let map = Map::open(id).map_err(Error::system("bpf(MAP_GET_FD_BY_ID)"))?;
            if let Some(entries) = map.entries().map_err(Error::system("bpf(MAP_GET_NEXT_KEY)"))? {
                maps.push(MapReport { pid, name: map.name, entries });
            }
        }
    }
    Ok(MapsReport { mode: "bpf-maps", maps })
}

/// Ids of the BPF objects that a process holds a descriptor of, each once.
fn ids(pid: u32, key: &str) -> Result<BTreeSet<u32>, Error> {
    let error = Error::system("read /proc/PID/fdinfo");
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).map_err(&error)? {
        // A descriptor may be closed while we look.
        let Ok(text) = fs::read_to_string(entry.map_err(&error)?.path()) else { continue };
        ids.extend(id_in(&text, key));
    }
    Ok(ids)
}

/// The number after `key:` in the text of a fdinfo file.
fn id_in(fdinfo: &str, key: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\nprog_type:\t32\nprog_jited:\t1\n\
                           prog_tag:\t1f0c7e5d3a0b9f11\nmemlock:\t4096\nprog_id:\t71\nrun_time_ns:\t0\nrun_cnt:\t0\n";

    #[test]
    fn an_id_is_found_by_its_whole_key() {
        assert_eq!(id_in(PROGRAM, "prog_id"), Some(71));
        assert_eq!(id_in(PROGRAM, "prog"), None);
        assert_eq!(id_in(PROGRAM, "map_id"), None);
        assert_eq!(id_in("map_id:\tmany\n", "map_id"), None);
    }

    #[test]
    fn a_process_without_bpf_objects_has_none() {
        assert!(ids(std::process::id(), "prog_id").unwrap().is_empty());
    }
}
