//! The launcher, the preloaded library, the supervisor and the dispenser together, on real programs: dynamic and static,
//! glibc and musl. Needs root, gcc and musl-gcc, and fails without them.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use slimfast_core::admission::{Admission, AdmissionEvent};
use slimfast_core::error::{Error, Result};
use slimfast_core::owner::{EndpointKey, Family, SocketSource, SocketSources, Tier};
// Makes cargo build the shared library.
use slimfast_preload as _;

const ENDPOINT: EndpointKey = EndpointKey { vni: 1, id: 1 };
static MARK: i32 = 5;

/// Marked sockets of the test's own namespace.
struct Marked;

impl SocketSource for Marked {
    fn create(&self, family: Family) -> Result<OwnedFd> {
        let domain = match family {
            Family::Inet => libc::AF_INET,
            Family::Inet6 => libc::AF_INET6,
        };
        // SAFETY: a fresh descriptor of ours, and an option of four bytes.
        unsafe {
            let fd = libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0);
            let at = (&raw const MARK).cast();
            assert_eq!(libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, at, 4), 0);
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

impl SocketSources for Marked {
    fn for_endpoint(&self, owner: EndpointKey, _tier: Tier) -> Result<Box<dyn SocketSource>> {
        if owner == ENDPOINT { Ok(Box::new(Marked)) } else { Err(Error::NotFound { what: "the endpoint".into() }) }
    }
}

/// An agent for one test.
struct Agent {
    socket: PathBuf,
    admission: Admission,
    events: Receiver<AdmissionEvent>,
}

impl Agent {
    fn start() -> Self {
        // SAFETY: no pointers are passed.
        assert_eq!(unsafe { libc::geteuid() }, 0, "these tests need root: entering a network namespace does");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("slimfast-launch-{}-{number}.sock", std::process::id()));
        let (sender, events) = channel();
        let lookup = Box::new(|metadata: &str| (metadata == "mine").then_some(ENDPOINT));
        let admission = Admission::start(&socket, lookup, Arc::new(Marked), sender).unwrap();
        Agent { socket, admission, events }
    }

    /// The launcher, up to the command.
    fn launcher(&self, tier: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimfast-launch"));
        command.args(["--netns", "/proc/self/ns/net", "--metadata", "mine", "--tier", tier, "--seccomp-socket"]);
        command.arg(&self.socket).arg("--preload-lib").arg(library()).arg("--");
        command
    }

    /// Runs the test program: (marked, unmarked, failed).
    fn client(&self, tier: &str, program: &Path, how: &str) -> (u64, u64, u64) {
        let output = self.launcher(tier).arg(program).arg(how).output().unwrap();
        assert!(output.status.success(), "{how}: {output:?}");
        assert_eq!(text(&output.stderr), "", "nothing is printed on standard error");
        self.wait_until_nothing_is_held();
        let words: Vec<_> = text(&output.stdout).split_whitespace().map(str::to_owned).collect();
        let number = |index: usize| words[index].parse().unwrap();
        (number(1), number(3), number(5))
    }

    /// A socket is counted after its target has gone on, so counters are complete only once the supervisor has ended.
    fn wait_until_nothing_is_held(&self) {
        for _ in 0..1000 {
            if self.admission.held(ENDPOINT) == (0, 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still held: {:?}", self.admission.held(ENDPOINT));
    }

    fn counter(&self, name: &str) -> u64 {
        self.admission.counters().named().into_iter().find(|(n, _)| *n == name).unwrap().1
    }

    /// Sockets of (notify, preload), once there are as many as were made: a dispenser counts what it has sent after
    /// sending it, and is told to end without being waited for.
    fn handed_out(&self, made: u64) -> (u64, u64) {
        let count = || (self.counter("notify_handed_out"), self.counter("preload_dispensed"));
        for _ in 0..1000 {
            if count().0 + count().1 >= made {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        count()
    }

    fn event(&self) -> AdmissionEvent {
        self.events.recv_timeout(Duration::from_secs(5)).expect("an event")
    }

    /// Everything ends with the command.
    fn stop(self) {
        loop {
            if let AdmissionEvent::Idle(endpoint) = self.event() {
                assert_eq!(endpoint, ENDPOINT);
                break;
            }
        }
        assert_eq!(self.admission.held(ENDPOINT), (0, 0));
        self.admission.stop();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The library, where slimfast-preload's build script puts it.
fn library() -> PathBuf {
    let launcher = Path::new(env!("CARGO_BIN_EXE_slimfast-launch"));
    let library = launcher.with_file_name("libslimfast_preload.so");
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

/// The test program, compiled in one of the ways.
fn program(kind: &'static str) -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let directory = COMPILED.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client.c");
        for (kind, compiler, flags) in [
            ("glibc", "gcc", &[][..]),
            ("glibc-static", "gcc", &["-static"][..]),
            ("musl", "musl-gcc", &[]),
            ("musl-static", "musl-gcc", &["-static"]),
        ] {
            let mut command = Command::new(compiler);
            command.args(["-O1", "-pthread"]).args(flags).arg(&source).arg("-o").arg(directory.join(kind));
            let output = command.output().unwrap_or_else(|e| panic!("{compiler} (Debian: gcc, musl-tools): {e}"));
            assert!(output.status.success(), "{compiler}: {}", text(&output.stderr));
        }
        directory
    });
    directory.join(kind)
}

#[test]
fn dynamic_programs_of_both_libraries_use_the_dispenser() {
    for kind in ["glibc", "musl"] {
        for (how, sockets) in [("one", 1), ("flags", 4), ("threads", 4000), ("fork", 1000)] {
            let agent = Agent::start();
            assert_eq!(agent.client("auto", &program(kind), how), (sockets, 0, 0), "{kind} {how}");
            let made = if how == "fork" { 2 * sockets } else { sockets };
            // What the dispenser did not have in time came through the notify tier, and nothing else did.
            let (notified, dispensed) = agent.handed_out(made);
            assert!(notified + dispensed >= made && notified <= made, "{notified} {dispensed}");
            if made <= 4 {
                assert_eq!(notified, 0, "{kind} {how}: the dispenser had them all");
            }
            agent.stop();
        }
    }
}

#[test]
fn static_programs_are_served_by_the_notify_tier() {
    for kind in ["glibc-static", "musl-static"] {
        for (how, sockets) in [("flags", 4), ("threads", 4000), ("fork", 1000), ("errno", 1), ("inet6", 1)] {
            let agent = Agent::start();
            assert_eq!(agent.client("auto", &program(kind), how), (sockets, 0, 0), "{kind} {how}");
            assert_eq!(agent.counter("preload_dispensed"), 0);
            agent.stop();
        }
    }
}

#[test]
fn the_notify_tier_alone_serves_dynamic_programs() {
    for kind in ["glibc", "musl"] {
        let agent = Agent::start();
        assert_eq!(agent.client("notify", &program(kind), "threads"), (4000, 0, 0));
        assert_eq!((agent.counter("notify_handed_out"), agent.counter("preload_dispensed")), (4000, 0));
        agent.stop();
    }
}

#[test]
fn errno_and_other_kinds_are_the_kernels_under_preload() {
    for kind in ["glibc", "musl"] {
        for how in ["errno", "inet6"] {
            let agent = Agent::start();
            assert_eq!(agent.client("preload", &program(kind), how), (1, 0, 0), "{kind} {how}");
            agent.stop();
        }
    }
}

#[test]
fn a_program_that_closes_the_dispenser_falls_through() {
    for kind in ["glibc", "musl"] {
        let agent = Agent::start();
        assert_eq!(agent.client("preload", &program(kind), "close"), (1000, 0, 0), "{kind}");
        assert_eq!(agent.counter("notify_handed_out"), 1000);
        agent.stop();
    }
}

#[test]
fn a_preload_into_a_static_program_is_an_error() {
    let agent = Agent::start();
    let output = agent.launcher("preload").arg(program("glibc-static")).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("--tier notify"), "{}", text(&output.stderr));
    agent.admission.stop();
}

#[test]
fn exit_codes_are_the_commands_or_say_what_failed() {
    let agent = Agent::start();
    let run = |command: &[&str]| agent.launcher("auto").args(command).output().unwrap();
    let code = |output: Output| output.status.code();
    assert_eq!(code(run(&["sh", "-c", "exit 42"])), Some(42));
    let killed = run(&["sh", "-c", "kill -TERM $$"]);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(libc::SIGTERM));
    assert_eq!(code(run(&["no-such-command"])), Some(127));
    assert_eq!(code(run(&["/"])), Some(126));
    assert_eq!(code(run(&[])), Some(125));
    agent.admission.stop();
}

#[test]
fn what_is_missing_is_named() {
    let agent = Agent::start();
    let fails = |arguments: &[&str], expected: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_slimfast-launch")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{expected}: {}", text(&output.stderr));
    };
    let socket = agent.socket.to_str().unwrap();
    let mine = ["--metadata", "mine"];
    fails(
        &[&["--netns", "/proc/self/ns/net", "--seccomp-socket", "/no/such"], &mine[..], &["true"]].concat(),
        "agent running",
    );
    fails(&[&["--netns", "/no/such", "--seccomp-socket", socket], &mine[..], &["true"]].concat(), "endpoint is gone");
    fails(&[&["--netns", "/dev/null", "--seccomp-socket", socket], &mine[..], &["true"]].concat(), "not a network");
    let other = ["--netns", "/proc/self/ns/net", "--seccomp-socket", socket, "--metadata", "other", "true"];
    fails(&other, "no endpoint of this node");
    let no_library = ["--tier", "preload", "--preload-lib", "/no/such", "true"];
    let all = [&["--netns", "/proc/self/ns/net", "--seccomp-socket", socket], &mine[..], &no_library].concat();
    fails(&all, "no preload library at /no/such");
    agent.admission.stop();
}

#[test]
fn a_second_listener_is_named_for_what_it_is() {
    let agent = Agent::start();
    // The launcher under the launcher.
    let mut inner = agent.launcher("notify");
    inner.arg("true");
    let mut outer = agent.launcher("notify");
    let output = outer.arg(inner.get_program()).args(inner.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("another seccomp listener"), "{}", text(&output.stderr));
    agent.stop();
}

#[test]
fn the_command_gets_its_environment_and_only_the_dispenser_as_descriptor() {
    let agent = Agent::start();
    let script = r#"echo "$LD_PRELOAD"; echo "$SLIMFAST_DISPENSER"; ls /proc/$$/fd"#;
    let mut launcher = agent.launcher("preload");
    let other = library();
    launcher.env("LD_PRELOAD", &other).args(["sh", "-c", script]).stdin(Stdio::null());
    let output = launcher.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines[0], format!("{}:{}", library().display(), other.display()));
    let name: Vec<u64> = lines[1].split(':').map(|number| number.parse().unwrap()).collect();
    assert_eq!(name.len(), 3);
    assert!(name[0] >= 1000, "{name:?}");
    let open = |output: &Output| -> Vec<u64> {
        text(&output.stdout).lines().skip(2).map(|number| number.parse().unwrap()).collect()
    };
    // What the shell has open without us: the test's own descriptors may be among it.
    let plain = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let plain = open(&plain);
    let added: Vec<u64> = open(&output).into_iter().filter(|fd| !plain.contains(fd)).collect();
    assert_eq!(added, [name[0]]);
    agent.stop();
}

#[test]
fn a_low_limit_on_descriptors_is_enough() {
    let agent = Agent::start();
    let mut launcher = Command::new("sh");
    let inner = agent.launcher("preload");
    launcher.args(["-c", "ulimit -n 32; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    let output = launcher.arg(program("glibc")).arg("flags").output().unwrap();
    assert_eq!(text(&output.stdout), "marked 4 unmarked 0 failed 0\n", "{output:?}");
    agent.wait_until_nothing_is_held();
    assert_eq!(agent.counter("notify_handed_out"), 0);
    agent.stop();
}

#[test]
fn sigpipe_stays_as_it_was() {
    let agent = Agent::start();
    let mut launcher = agent.launcher("auto");
    launcher.args(["grep", "SigIgn", "/proc/self/status"]);
    let output = launcher.output().unwrap();
    // Bit 12 is SIGPIPE.
    let ignored = u64::from_str_radix(text(&output.stdout).split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0);
    agent.stop();
}

#[test]
fn the_command_is_in_the_namespace_given() {
    let agent = Agent::start();
    // A namespace of our own, held by a child.
    let mut holder = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    while std::fs::read_link(&path).unwrap() == ours {
        std::thread::sleep(Duration::from_millis(5));
    }
    let theirs = std::fs::read_link(&path).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimfast-launch"));
    command.args(["--netns", &path, "--metadata", "mine", "--seccomp-socket"]).arg(&agent.socket);
    let output = command.args(["readlink", "/proc/self/ns/net"]).output().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(text(&output.stdout).trim(), theirs.to_str().unwrap());
    agent.stop();
}

#[test]
fn python_is_served_through_subprocesses_and_close_fds() {
    let agent = Agent::start();
    let script = "
import socket, subprocess, sys
def mark(s): return s.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)
assert mark(socket.socket()) == 5
assert mark(socket.socket(socket.AF_INET6)) == 5
code = 'import socket,sys; sys.exit(socket.socket().getsockopt(1, 12) != 5)'
for close in (True, False):
    assert subprocess.run([sys.executable, '-c', code], close_fds=close).returncode == 0
";
    let output = agent.launcher("auto").args(["python3", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    agent.stop();
}

#[test]
fn a_dead_agent_leaves_the_sockets_that_were_handed_out() {
    let agent = Agent::start();
    let script = "
import socket, sys
s = socket.socket()
print('ready', flush=True)
sys.stdin.readline()
s.bind(('127.0.0.1', 0))
s.listen()
try:
    for _ in range(200): socket.socket()
except OSError as error:
    print(error.errno)
";
    let mut launcher = agent.launcher("notify");
    launcher.args(["python3", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = launcher.spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    agent.admission.stop();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout).trim(), libc::ENOSYS.to_string());
}
