//! Counters of the supervisors, dispensers and admission of one node, shared by their threads.
//!
//! They only grow. Relaxed order everywhere: each stands for itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $field:ident),* $(,)?) => {
        /// What happened on the way of sockets into containers, since the node was opened.
        #[derive(Debug, Default)]
        pub struct HandoutCounters {
            $($(#[doc = $doc])* pub $field: Counter,)*
        }

        impl HandoutCounters {
            /// Every counter by its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.get()),)*]
            }
        }
    };
}

counters! {
    /// Calls that came to a supervisor.
    notify_notifications,
    /// Sockets that reached their target through the notify tier.
    notify_handed_out,
    /// Answered without a socket because the call asks for something else than TCP.
    notify_refused,
    /// Answered ENETDOWN because the endpoint was detached.
    notify_detached,
    /// Answered with the error that creating the socket gave.
    notify_create_failed,
    /// The target could not take the socket (it has too many descriptors).
    notify_install_failed,
    /// The target was killed or interrupted in the middle of its call.
    notify_target_gone,
    /// A socket had to be created while its target waited, because none was prepared.
    notify_pool_empty,
    /// ioctl(2) about interfaces that was refused, or failed: on a host socket, or what changes something.
    interface_refused,
    /// Sockets that were put into a dispenser.
    preload_dispensed,
    /// Times that a dispenser found its queue empty: socket(2) went to the notify tier meanwhile.
    preload_ran_dry,
    /// Times that a dispenser had to wait because a socket could not be created or sent.
    preload_back_offs,
    /// Containers that were admitted.
    admission_admitted,
    /// Of these, those that may use io_uring, or of which that is not known.
    admission_unguarded,
    /// Hand-overs that were refused: the container's TCP sockets fail with ENOSYS.
    admission_refused,
    /// Connections to the admission socket that were not root's.
    admission_not_root,
}
