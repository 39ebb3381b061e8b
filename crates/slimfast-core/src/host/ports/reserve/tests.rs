//! The sysctl of a namespace of the test's own.

use super::super::super::steps::fail_at;
use super::super::super::testing::{RunDir, TestNs};
use super::*;

fn block() -> PortRange {
    PortRange::block(7000, 16).expect("a block")
}

#[test]
fn what_was_reserved_before_or_meanwhile_stays() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    for (before, during, meanwhile, after) in [
        ("", "7000-7015", "", ""),
        ("80,7003", "80,7000-7015", "", "80,7003"),
        ("7000-7015", "7000-7015", "", "7000-7015"),
        ("6990-7001", "6990-7015", "6990-7020", "6990-7001,7016-7020"),
        ("", "7000-7015", "90,7000-7015", "90"),
        ("80", "80,7000-7015", "80", "80"),
    ] {
        let work = || {
            sysctl::set_here(SYSCTL, before)?;
            let reservation = Reservation::acquire(block(), &run_dir.journal)?;
            assert_eq!(sysctl::get_here(SYSCTL)?, during);
            assert_eq!(run_dir.journal.changes().len(), 1);
            if !meanwhile.is_empty() {
                sysctl::set_here(SYSCTL, meanwhile)?;
            }
            reservation.release()?;
            assert_eq!(sysctl::get_here(SYSCTL)?, after, "before: {before}");
            Ok(())
        };
        node.ns.run(work).expect("reserve and release");
        assert_eq!(run_dir.journal.changes(), []);
    }
}

#[test]
fn a_failure_at_any_step_reserves_nothing() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    let work = || {
        for step in 0..10 {
            let (outcome, failed) = fail_at(step, || Reservation::acquire(block(), &run_dir.journal));
            if !failed {
                assert_eq!(step, 2);
                return outcome?.release();
            }
            outcome.expect_err("injected");
            assert_eq!(sysctl::get_here(SYSCTL)?, "");
            assert_eq!(run_dir.journal.changes(), []);
        }
        panic!("it never succeeded");
    };
    node.ns.run(work).expect("reserve");
}
