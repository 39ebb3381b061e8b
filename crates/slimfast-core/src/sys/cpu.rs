//! On which CPU a thread runs.

use std::mem::{size_of, zeroed};

/// Keeps the calling thread where it is woken, for some calls at a time.
///
/// A seccomp notification can wake its supervisor on its target's CPU; whatever else wakes a thread puts it on an idle one
/// (`select_idle_sibling`, kernel/sched/fair.c). A supervisor sleeps a second time within each answer, until its target has
/// installed the descriptor, and would change places with every call, each time at the price of waking a CPU. So it is bound to
/// where the first notification found it. A target that has moved is followed once in [`CALLS`](Self::CALLS) calls, when the
/// thread may be woken anywhere again.
///
/// Of one thread: to be made and used by it.
pub struct Place {
    /// Where the thread may run by what it was started with. `None`: it is not bound at all, since that cannot be told.
    allowed: Option<libc::cpu_set_t>,
    bound: bool,
    calls: u32,
}

impl Place {
    /// Calls between two looks at where the target is now. Binding and letting go cost about a microsecond together.
    const CALLS: u32 = 16;

    pub fn of_this_thread() -> Self {
        // SAFETY: the set is plain data, which the kernel fills; 0 is the calling thread.
        let allowed = unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) == 0).then_some(set)
        };
        Place { allowed, bound: false, calls: 0 }
    }

    /// A notification has been received: the thread stays here.
    pub fn stay(&mut self) {
        if self.bound || self.allowed.is_none() {
            return;
        }
        // SAFETY: no pointers are passed.
        let cpu = unsafe { libc::sched_getcpu() };
        let Ok(cpu) = usize::try_from(cpu) else { return };
        if cpu >= libc::CPU_SETSIZE as usize {
            return;
        }
        // SAFETY: a set of no CPUs is all zeros, and the number is one that it has room for.
        let here = unsafe {
            let mut here: libc::cpu_set_t = zeroed();
            libc::CPU_SET(cpu, &mut here);
            here
        };
        self.bound = run_on(&here);
        self.calls = 0;
    }

    /// The call has been answered: from time to time the thread may be woken anywhere again.
    pub fn answered(&mut self) {
        self.calls += 1;
        if self.bound && self.calls >= Self::CALLS {
            self.let_go();
        }
    }

    /// The thread may run wherever it was allowed to in the beginning.
    fn let_go(&mut self) {
        if let (true, Some(allowed)) = (self.bound, &self.allowed) {
            self.bound = !run_on(allowed);
        }
    }
}

/// A CPU that has gone since is none of the kernel's sets, and the thread stays as it was.
fn run_on(set: &libc::cpu_set_t) -> bool {
    // SAFETY: the kernel reads a set of the given size; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let set = Place::of_this_thread().allowed.unwrap();
        // SAFETY: the numbers are ones that the set has room for.
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
    }

    #[test]
    fn stays_on_one_cpu_and_is_let_go_again() {
        let before = allowed();
        let mut place = Place::of_this_thread();
        place.stay();
        let bound = allowed();
        assert_eq!(bound.len(), 1);
        assert!(before.contains(&bound[0]));
        for _ in 1..Place::CALLS {
            place.answered();
        }
        assert_eq!(allowed(), bound);
        place.answered();
        assert_eq!(allowed(), before);
        place.stay();
        place.let_go();
        assert_eq!(allowed(), before);
    }
}
