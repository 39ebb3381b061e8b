//! bpf(2), as far as reading what others have loaded and one empty program need it. By hand rather than through a
//! library: six commands, and the benchmark needs none of libbpf's build.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `enum bpf_cmd`.
const MAP_GET_NEXT_KEY: u32 = 4;
const PROG_LOAD: u32 = 5;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const LINK_CREATE: u32 = 28;
const ENABLE_STATS: u32 = 32;

/// `enum bpf_prog_type`, `enum bpf_attach_type`, `enum bpf_stats_type`.
const PROG_TYPE_SOCK_OPS: u32 = 13;
const PROG_TYPE_NETFILTER: u32 = 32;
const ATTACH_CGROUP_SOCK_OPS: u32 = 3;
const ATTACH_NETFILTER: u32 = 45;
const STATS_RUN_TIME: u32 = 0;

/// `enum bpf_map_type`: those whose entries come and go.
const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_LRU_HASH: u32 = 9;
const MAP_TYPE_SOCKHASH: u32 = 18;

const NFPROTO_IPV4: u32 = 2;
const NF_INET_LOCAL_IN: u32 = 1;

const NAME_BYTES: usize = 16;

/// Members of `union bpf_attr`, each as long as the kernel needs to know; the rest is zero to it.
#[repr(C)]
#[derive(Default)]
struct IdAttribute {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct InfoAttribute {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct KeyAttribute {
    fd: u32,
    padding: u32,
    key: u64,
    next_key: u64,
}

#[repr(C)]
#[derive(Default)]
struct LoadAttribute {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_BYTES],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttribute {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    // What follows is netfilter's.
    protocol_family: u32,
    hook: u32,
    priority: i32,
    netfilter_flags: u32,
}

/// `struct bpf_prog_info` up to `run_cnt`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before_name: [u64; 8],
    name: [u8; NAME_BYTES],
    after_name: [u64; 14],
    run_time_ns: u64,
    run_count: u64,
}

// The offsets of include/uapi/linux/bpf.h; the kernel never moves them.
const _: () = assert!(std::mem::offset_of!(ProgramInfo, name) == 64);
const _: () = assert!(std::mem::offset_of!(ProgramInfo, run_time_ns) == 192);

/// `struct bpf_map_info` up to `name`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; NAME_BYTES],
}

/// # Safety
/// `attribute` must be what the command takes, and what it points to must be valid for the command.
unsafe fn bpf<T>(command: u32, attribute: &mut T) -> io::Result<i32> {
    // SAFETY: the attribute is live and has the length that is passed; the caller vouches for its contents.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<T>() as libc::c_uint) };
    super::check(result as libc::c_int)
}

/// # Safety
/// As [`bpf`], and the command must be one that returns a new descriptor.
unsafe fn bpf_fd<T>(command: u32, attribute: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise is the same; a new descriptor belongs to nobody else.
    unsafe { bpf(command, attribute).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Run-time statistics are kept for every program of the machine while the descriptor is open: they end with the
/// process, however it ends.
pub fn enable_run_time_statistics() -> io::Result<OwnedFd> {
    let mut kind = STATS_RUN_TIME;
    // SAFETY: the command takes one u32 and returns a descriptor.
    unsafe { bpf_fd(ENABLE_STATS, &mut kind) }
}

fn by_id(command: u32, id: u32) -> io::Result<OwnedFd> {
    let mut attribute = IdAttribute { id, ..IdAttribute::default() };
    // SAFETY: both commands take an id and return a descriptor.
    unsafe { bpf_fd(command, &mut attribute) }
}

/// Fills the beginning of the kernel's record about the object.
fn info<T: Default>(fd: &OwnedFd) -> io::Result<T> {
    let mut info = T::default();
    let mut attribute =
        InfoAttribute { fd: fd.as_raw_fd() as u32, length: size_of::<T>() as u32, info: (&raw mut info) as u64 };
    // SAFETY: `info` is live, has the length that is passed, and any bytes are valid for the integers it is made of.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attribute) }?;
    Ok(info)
}

fn text(name: [u8; NAME_BYTES]) -> String {
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
    String::from_utf8_lossy(&name[..length]).into_owned()
}

/// How often a program ran since statistics were enabled for the first time, and for how long.
#[derive(Clone, Copy, Default)]
pub struct RunTime {
    pub count: u64,
    pub ns: u64,
}

pub struct Program {
    fd: OwnedFd,
    pub name: String,
}

impl Program {
    pub fn open(id: u32) -> io::Result<Self> {
        let fd = by_id(PROG_GET_FD_BY_ID, id)?;
        let name = text(info::<ProgramInfo>(&fd)?.name);
        Ok(Self { fd, name })
    }

    pub fn run_time(&self) -> io::Result<RunTime> {
        let info: ProgramInfo = info(&self.fd)?;
        Ok(RunTime { count: info.run_count, ns: info.run_time_ns })
    }
}

/// A program that lets everything pass: what its statistics show is what keeping them costs.
pub struct EmptyProgram {
    program: Program,
    _links: Vec<OwnedFd>,
}

impl EmptyProgram {
    /// At the same netfilter hook as the data path's, in the caller's network namespace, once for each of
    /// `priorities`; its statistics are the sum.
    pub fn on_packets(priorities: &[i32]) -> io::Result<Self> {
        let program = load_empty(PROG_TYPE_NETFILTER, ATTACH_NETFILTER)?;
        let link = |&priority: &i32| {
            create_link(
                &program,
                LinkAttribute {
                    attach_type: ATTACH_NETFILTER,
                    protocol_family: NFPROTO_IPV4,
                    hook: NF_INET_LOCAL_IN,
                    priority,
                    ..LinkAttribute::default()
                },
            )
        };
        let links = priorities.iter().map(link).collect::<io::Result<_>>()?;
        Ok(Self { program, _links: links })
    }

    /// On the TCP sockets of a cgroup, after the programs that are there already.
    pub fn on_sockets(cgroup: &File) -> io::Result<Self> {
        let program = load_empty(PROG_TYPE_SOCK_OPS, ATTACH_CGROUP_SOCK_OPS)?;
        let target = cgroup.as_raw_fd() as u32;
        let attribute = LinkAttribute { target, attach_type: ATTACH_CGROUP_SOCK_OPS, ..LinkAttribute::default() };
        let link = create_link(&program, attribute)?;
        Ok(Self { program, _links: vec![link] })
    }

    pub fn run_time(&self) -> io::Result<RunTime> {
        self.program.run_time()
    }
}

fn load_empty(kind: u32, expected_attach_type: u32) -> io::Result<Program> {
    // r0 = 1, which is NF_ACCEPT, and the value that hooks of cgroups ignore; exit.
    let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
    let name = *b"bench_empty\0\0\0\0\0";
    let mut attribute = LoadAttribute {
        kind,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        name,
        expected_attach_type,
        ..LoadAttribute::default()
    };
    // SAFETY: the instructions and the license are live through the call.
    let fd = unsafe { bpf_fd(PROG_LOAD, &mut attribute) }?;
    Ok(Program { fd, name: text(name) })
}

fn create_link(program: &Program, attribute: LinkAttribute) -> io::Result<OwnedFd> {
    let mut attribute = LinkAttribute { program: program.fd.as_raw_fd() as u32, ..attribute };
    // SAFETY: no pointers.
    unsafe { bpf_fd(LINK_CREATE, &mut attribute) }
}

pub struct Map {
    fd: OwnedFd,
    kind: u32,
    key_size: u32,
    pub name: String,
}

impl Map {
    pub fn open(id: u32) -> io::Result<Self> {
        let fd = by_id(MAP_GET_FD_BY_ID, id)?;
        let info: MapInfo = info(&fd)?;
        Ok(Self { fd, kind: info.kind, key_size: info.key_size, name: text(info.name) })
    }

    /// Number of entries, by walking the keys; `None` for maps whose number of entries is fixed.
    pub fn entries(&self) -> io::Result<Option<u64>> {
        if !matches!(self.kind, MAP_TYPE_HASH | MAP_TYPE_LRU_HASH | MAP_TYPE_SOCKHASH) {
            return Ok(None);
        }
        let mut key = vec![0u8; self.key_size as usize];
        let mut next = key.clone();
        let mut entries = 0;
        loop {
            let mut attribute = KeyAttribute {
                fd: self.fd.as_raw_fd() as u32,
                padding: 0,
                key: if entries == 0 { 0 } else { key.as_ptr() as u64 },
                next_key: next.as_mut_ptr() as u64,
            };
            // SAFETY: both buffers are live and as long as a key of this map.
            match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attribute) } {
                Ok(_) => entries += 1,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Some(entries)),
                Err(error) => return Err(error),
            }
            std::mem::swap(&mut key, &mut next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_first_zero_or_fills_the_field() {
        assert_eq!(text(*b"sf_ingress\0\0\0\0\0\0"), "sf_ingress");
        assert_eq!(text(*b"0123456789abcdef"), "0123456789abcdef");
    }
}
