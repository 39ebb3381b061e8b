//! The notify tier.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slimfast_core::counters::HandoutCounters;
use slimfast_core::supervisor::{Refiller, Supervisor};
use slimfast_core::sys::seccomp::SeccompListener;

use crate::sources::{ENDPOINT, Plain, Sources};
use crate::target::{Target, close, flags, is_marked, socket, spawn};
use crate::{eventually, open_descriptors, turn};

struct Supervised {
    target: Target,
    supervisor: Supervisor,
    /// Ends with the test.
    _refiller: Refiller,
    plain: Arc<Plain>,
    counters: Arc<HandoutCounters>,
    ended: Arc<AtomicUsize>,
}

fn supervise_with(plain: Arc<Plain>, body: impl FnOnce() -> i32) -> Supervised {
    let (target, listener) = spawn(body);
    let (counters, ended) = (Arc::<HandoutCounters>::default(), Arc::<AtomicUsize>::default());
    let on_end = {
        let ended = Arc::clone(&ended);
        move |report: slimfast_core::supervisor::ListenerEnded| {
            assert_eq!(report.endpoint, ENDPOINT);
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let listener = SeccompListener::new(listener, true).expect("a listener");
    let sources = Arc::new(Sources(Arc::clone(&plain)));
    let refiller = Refiller::start().unwrap();
    let supervisor =
        Supervisor::start(listener, ENDPOINT, sources, Arc::clone(&counters), refiller.requests(), on_end).unwrap();
    Supervised { target, supervisor, _refiller: refiller, plain, counters, ended }
}

fn supervise(body: impl FnOnce() -> i32) -> Supervised {
    supervise_with(Plain::new(), body)
}

impl Supervised {
    /// Runs the body to its end: its exit code, once the supervisor has ended by itself.
    fn finish(self) -> (i32, Arc<HandoutCounters>) {
        let code = self.target.wait();
        self.supervisor.join();
        assert_eq!(self.ended.load(Ordering::SeqCst), 1, "the end is reported once");
        (code, self.counters)
    }
}

const STREAM: i32 = libc::SOCK_STREAM;

#[test]
fn sockets_come_with_their_family_and_flags() {
    let _turn = turn();
    let (code, counters) = supervise(|| {
        let mut step = 0;
        for domain in [libc::AF_INET, libc::AF_INET6] {
            for protocol in [0, libc::IPPROTO_TCP] {
                for (cloexec, nonblocking) in [(false, false), (true, false), (false, true), (true, true)] {
                    step += 1;
                    let kind = STREAM
                        | if cloexec { libc::SOCK_CLOEXEC } else { 0 }
                        | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
                    let fd = socket(domain, kind, protocol);
                    let (mut actual, mut length) = (0i32, 4);
                    let at = (&raw mut actual).cast();
                    // SAFETY: the kernel writes at most four bytes.
                    unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, at, &raw mut length) };
                    if fd < 0 || !is_marked(fd) || flags(fd) != (cloexec, nonblocking) || actual != domain {
                        return step;
                    }
                }
            }
        }
        0
    })
    .finish();
    assert_eq!(code, 0, "at this step");
    assert_eq!(counters.notify_handed_out.get(), 16);
    assert_eq!(counters.notify_notifications.get(), 16);
}

#[test]
fn the_lowest_free_descriptor_is_used() {
    let _turn = turn();
    let (code, _) = supervise(|| {
        let first = socket(libc::AF_INET, STREAM, 0);
        let second = socket(libc::AF_INET, STREAM, 0);
        close(first);
        i32::from(socket(libc::AF_INET, STREAM, 0) != first || second <= first)
    })
    .finish();
    assert_eq!(code, 0);
}

/// Closes a listener that it has just made, and connects to it by a socket that it had before; the errno.
fn connect_to_a_closed_listener() -> i32 {
    let early = socket(libc::AF_INET, STREAM, 0);
    let listener = socket(libc::AF_INET, STREAM, 0);
    // SAFETY: all zeros is a valid sockaddr_in; the kernel reads and writes no more than its length.
    unsafe {
        let mut name: libc::sockaddr_in = std::mem::zeroed();
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        let mut length = size_of_val(&name) as libc::socklen_t;
        let at = (&raw mut name).cast();
        libc::bind(listener, at, length);
        libc::listen(listener, 1);
        libc::getsockname(listener, at, &raw mut length);
        close(listener);
        let connected = libc::connect(early, at, length);
        let errno = *libc::__errno_location();
        close(early);
        if connected == 0 { 0 } else { errno }
    }
}

#[test]
fn closing_a_socket_that_was_just_made_has_its_effect_at_once() {
    let _turn = turn();
    let (code, counters) = supervise(|| {
        (0..1_000).map(|_| connect_to_a_closed_listener()).find(|&errno| errno != libc::ECONNREFUSED).unwrap_or(255)
    })
    .finish();
    assert_eq!(code, 255, "the errno of a connect that was not refused");
    assert_eq!(counters.notify_handed_out.get(), 2_000);
}

#[test]
fn what_is_not_tcp_is_the_kernels() {
    let _turn = turn();
    let (code, counters) = supervise(|| {
        let (inet, inet6) = (libc::AF_INET, libc::AF_INET6);
        let checks = [
            socket(inet, STREAM, 262) == -libc::EPROTONOSUPPORT,
            socket(inet6, STREAM | libc::SOCK_CLOEXEC, 262) == -libc::EPROTONOSUPPORT,
            !is_marked(socket(inet, libc::SOCK_DGRAM, 0)),
            !is_marked(socket(libc::AF_UNIX, STREAM, 0)),
            socket(inet, STREAM, libc::IPPROTO_UDP) == -libc::EPROTONOSUPPORT,
            socket(inet, STREAM | 0x10, 0) == -libc::EINVAL,
            // SAFETY: io_uring_setup is refused before it looks at its arguments.
            unsafe { libc::syscall(425, 1, 0) == -1 && *libc::__errno_location() == libc::EPERM },
        ];
        checks.iter().position(|ok| !ok).map_or(0, |index| index as i32 + 1)
    })
    .finish();
    assert_eq!(code, 0, "at this check");
    // The one with an unknown flag is the only one that came to the supervisor.
    assert_eq!((counters.notify_notifications.get(), counters.notify_refused.get()), (1, 1));
}

/// A call through the i386 entry, which a 64-bit program can use as well: the result or the negated errno.
#[cfg(target_arch = "x86_64")]
fn call_i386(number: u32, arguments: [u32; 3]) -> i32 {
    let result: i32;
    // SAFETY: calls that take no pointers. rbx is the compiler's own and is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {first:e}",
            "int 0x80",
            "pop rbx",
            first = in(reg) arguments[0],
            inlateout("eax") number as i32 => result,
            in("ecx") arguments[1],
            in("edx") arguments[2],
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

#[test]
#[cfg(target_arch = "x86_64")]
fn foreign_abis_get_sockets_of_their_own_namespace() {
    let _turn = turn();
    let (code, counters) = supervise(|| {
        let own = |fd: i32| if fd >= 0 { !is_marked(fd) } else { fd == -libc::ENOSYS };
        let x32 = |number: i64| {
            // SAFETY: no pointers are passed.
            match unsafe { libc::syscall(number | 0x4000_0000, libc::AF_INET, STREAM, 0) } {
                // SAFETY: the thread's own errno.
                -1 => -unsafe { *libc::__errno_location() },
                fd => fd as i32,
            }
        };
        let checks = [
            own(call_i386(359, [2, 1, 0])),
            own(call_i386(359, [10, 1, 6])),
            own(x32(41)),
            call_i386(425, [1, 0, 0]) == -libc::EPERM,
            x32(425) == -libc::EPERM,
        ];
        checks.iter().position(|ok| !ok).map_or(0, |index| index as i32 + 1)
    })
    .finish();
    assert_eq!(code, 0, "at this check");
    assert_eq!(counters.notify_notifications.get(), 0);
}

#[test]
fn ten_thousand_sockets_leak_nothing() {
    let _turn = turn();
    let before = open_descriptors();
    let (code, counters) = supervise(|| {
        for _ in 0..10_000 {
            let fd = socket(libc::AF_INET, STREAM | libc::SOCK_CLOEXEC, 0);
            if fd < 0 || !is_marked(fd) {
                return 1;
            }
            close(fd);
        }
        0
    })
    .finish();
    assert_eq!(code, 0);
    assert_eq!(counters.notify_handed_out.get(), 10_000);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn threads_and_children_are_served_too() {
    let _turn = turn();
    let before = open_descriptors();
    let (code, counters) = supervise(|| {
        // SAFETY: the children make plain system calls and exit.
        unsafe {
            for _ in 0..8 {
                if libc::fork() == 0 {
                    for _ in 0..250 {
                        let fd = socket(libc::AF_INET, STREAM, 0);
                        if !is_marked(fd) {
                            libc::_exit(1);
                        }
                        close(fd);
                    }
                    libc::_exit(0);
                }
            }
            let mut bad = 0;
            for _ in 0..8 {
                let mut status = 0;
                libc::wait(&raw mut status);
                bad += i32::from(status != 0);
            }
            bad
        }
    })
    .finish();
    assert_eq!(code, 0);
    assert_eq!(counters.notify_handed_out.get(), 2000);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_target_killed_in_its_call_leaves_nothing_behind() {
    let _turn = turn();
    let before = open_descriptors();
    let plain = Plain::new();
    plain.close_gate();
    let mut s = supervise_with(plain, || {
        socket(libc::AF_INET6, STREAM, 0);
        0
    });
    // The pool's first creation waits at the gate; so does every later one.
    eventually("a creation waits", || s.plain.waiting() == 1);
    s.target.go();
    std::thread::sleep(std::time::Duration::from_millis(50));
    s.target.kill();
    s.plain.open_gate();
    let (code, counters) = s.finish();
    assert_eq!(code, -libc::SIGKILL);
    assert_eq!(counters.notify_handed_out.get(), 0);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_target_killed_while_its_socket_is_made_is_counted() {
    let _turn = turn();
    let before = open_descriptors();
    let plain = Plain::new();
    let mut s = supervise_with(plain, || {
        socket(libc::AF_INET6, STREAM, 0);
        0
    });
    // Once the AF_INET pool is full, the first AF_INET6 socket is made while its target waits.
    eventually("the pool is full", || s.plain.created.load(Ordering::SeqCst) == 4);
    s.plain.close_gate();
    s.target.go();
    eventually("a creation waits", || s.plain.waiting() == 1);
    s.target.kill();
    s.plain.open_gate();
    let (code, counters) = s.finish();
    assert_eq!(code, -libc::SIGKILL);
    assert_eq!((counters.notify_handed_out.get(), counters.notify_target_gone.get()), (0, 1));
    assert_eq!(open_descriptors(), before);
}

#[test]
fn signals_do_not_interrupt_or_duplicate() {
    let _turn = turn();
    let (code, counters) = supervise(|| {
        extern "C" fn nothing(_: i32) {}
        // SAFETY: a handler that does nothing and a timer; the records are valid.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
            let often = libc::timeval { tv_sec: 0, tv_usec: 50 };
            let timer = libc::itimerval { it_interval: often, it_value: often };
            libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0);
        }
        let first = socket(libc::AF_INET, STREAM, 0);
        close(first);
        for _ in 0..5_000 {
            let fd = socket(libc::AF_INET, STREAM, 0);
            // A lost reply would leave a descriptor behind that nobody knows.
            if fd != first {
                return if fd < 0 { -fd } else { 200 };
            }
            close(fd);
        }
        0
    })
    .finish();
    assert_eq!(code, 0, "200: a descriptor too many; else errno");
    assert_eq!(counters.notify_handed_out.get(), 5_001);
}

#[test]
fn the_targets_own_limit_is_its_own() {
    let _turn = turn();
    let before = open_descriptors();
    let (code, counters) = supervise(|| {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: the record is valid.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let mut last = 0;
        for _ in 0..64 {
            last = socket(libc::AF_INET, STREAM, 0);
            if last < 0 {
                break;
            }
        }
        let again = socket(libc::AF_INET6, STREAM, 0);
        close(40);
        i32::from(last != -libc::EMFILE || again != -libc::EMFILE || socket(libc::AF_INET, STREAM, 0) != 40)
    })
    .finish();
    assert_eq!(code, 0);
    assert_eq!(counters.notify_install_failed.get(), 2);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn failures_have_the_errno_of_the_kernel() {
    let _turn = turn();
    for (failure, seen) in [
        (libc::ENOMEM, libc::ENOMEM),
        (libc::ENOBUFS, libc::ENOBUFS),
        (libc::ENFILE, libc::ENFILE),
        (libc::EMFILE, libc::ENFILE),
        (libc::EAFNOSUPPORT, libc::EAFNOSUPPORT),
        (libc::EPERM, libc::ENOBUFS),
    ] {
        let plain = Plain::new();
        plain.failure.store(failure, Ordering::SeqCst);
        let (code, counters) = supervise_with(plain, || -socket(libc::AF_INET, STREAM, 0)).finish();
        assert_eq!(code, seen);
        assert_eq!(counters.notify_create_failed.get(), 1);
    }
}

#[test]
fn a_detached_endpoint_is_down_and_its_prepared_sockets_are_gone() {
    let _turn = turn();
    let before = open_descriptors();
    let s = supervise(|| i32::from(socket(libc::AF_INET, STREAM, 0) != -libc::ENETDOWN));
    eventually("the pool is full", || s.plain.created.load(Ordering::SeqCst) == 4);
    // Listener, its page and eventfd, the way to the child, and the pool.
    eventually("the pool is open", || open_descriptors() == before + 4 + 4);
    s.supervisor.detach();
    eventually("the pool is closed", || open_descriptors() == before + 4);
    let (code, counters) = s.finish();
    assert_eq!(code, 0);
    assert_eq!((counters.notify_detached.get(), counters.notify_handed_out.get()), (1, 0));
}

#[test]
fn an_endpoint_that_is_gone_from_the_start_is_down() {
    let _turn = turn();
    let plain = Plain::new();
    plain.detached.store(true, Ordering::SeqCst);
    let (code, _) = supervise_with(plain, || i32::from(socket(libc::AF_INET, STREAM, 0) != -libc::ENETDOWN)).finish();
    assert_eq!(code, 0);
}

#[test]
fn stopping_closes_the_listener_and_reports_nothing() {
    let _turn = turn();
    let before = open_descriptors();
    let s = supervise(|| i32::from(socket(libc::AF_INET, STREAM, 0) != -libc::ENOSYS));
    s.supervisor.stop();
    s.supervisor.join();
    assert_eq!(s.target.wait(), 0);
    assert_eq!(s.ended.load(Ordering::SeqCst), 0);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn an_idle_supervisor_uses_no_cpu() {
    let _turn = turn();
    let mut s = supervise(|| {
        socket(libc::AF_INET, STREAM, 0);
        // SAFETY: no pointers are passed.
        unsafe { libc::usleep(400_000) };
        0
    });
    s.target.go();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let cpu = || {
        // SAFETY: the kernel fills the record.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
                + usage.ru_utime.tv_usec
                + usage.ru_stime.tv_usec
        }
    };
    let before = cpu();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(cpu() - before < 20_000, "{} us of CPU in 200 ms", cpu() - before);
    assert_eq!(s.finish().0, 0);
}

/// One that is killed with a call taken and not answered, from which nothing is left but copies of its descriptors.
#[test]
fn another_goes_on_where_one_was_killed() {
    let _turn = turn();
    for is_wait_killable in [true, false] {
        let (mut target, listener) =
            spawn(|| i32::from(!(0..100).all(|_| is_marked(socket(libc::AF_INET, STREAM, 0)))));
        let first = SeccompListener::new(listener, is_wait_killable).expect("a listener");
        target.go();
        let taken = first.receive().expect("receive").expect("a call");
        let copy = first.copy().expect("copies");
        drop(first);
        let second = SeccompListener::resume(copy, is_wait_killable).expect("a listener");
        assert_eq!(second.taken(), [taken]);
        let sources = Arc::new(Sources(Plain::new()));
        let counters = Arc::<HandoutCounters>::default();
        let refiller = Refiller::start().unwrap();
        let supervisor =
            Supervisor::start(second, ENDPOINT, sources, Arc::clone(&counters), refiller.requests(), |_| {}).unwrap();
        assert_eq!(target.wait(), 0);
        supervisor.join();
        assert_eq!(counters.notify_handed_out.get(), 100);
    }
}

#[test]
fn other_descriptors_are_no_listeners() {
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(SeccompListener::new(file, true).is_err());
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(SeccompListener::new(socket.into(), true).is_err());
}
