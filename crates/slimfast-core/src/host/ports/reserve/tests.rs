//! The sysctl of a namespace of the test's own.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use super::super::super::journal::recover;
use super::super::super::steps::fail_at;
use super::super::super::testing::{RunDir, TestNs};
use super::*;

fn ranges(text: &str) -> Vec<PortRange> {
    parse_ranges(text).expect("well-formed")
}

fn block() -> Vec<PortRange> {
    ranges("7000-7015")
}

fn acquire(ranges: &[PortRange], run_dir: &RunDir) -> Result<Reservation> {
    Reservation::acquire(Purpose::Static, ranges, &run_dir.journal)
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
            let reservation = acquire(&block(), &run_dir)?;
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
fn one_set_takes_the_place_of_another_beside_what_others_have() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    let work = || {
        sysctl::set_here(SYSCTL, "80,9001")?;
        let front = Reservation::acquire(Purpose::FrontPorts, &block(), &run_dir.journal)?;
        let mut kept_free = acquire(&ranges("9000-9002"), &run_dir)?;
        for (wanted, found) in [
            ("9000-9002", "80,7000-7015,9000-9002"),
            ("9002-9003,8000", "80,7000-7015,8000,9001-9003"),
            ("", "80,7000-7015,9001"),
            // One of them is somebody else's, another one a front port: neither is ours to take out.
            ("80,7015-7016", "80,7000-7016,9001"),
            ("8000", "80,7000-7015,8000,9001"),
        ] {
            kept_free.replace(&ranges(wanted))?;
            assert_eq!(sysctl::get_here(SYSCTL)?, found, "{wanted}");
        }
        // Somebody has set the sysctl without looking.
        sysctl::set_here(SYSCTL, "81")?;
        kept_free.replace(&ranges("8000"))?;
        assert_eq!(sysctl::get_here(SYSCTL)?, "81,8000");
        front.release()?;
        kept_free.release()?;
        assert_eq!(sysctl::get_here(SYSCTL)?, "81");
        Ok(())
    };
    node.ns.run(work).expect("reserve, replace and release");
    assert_eq!(run_dir.journal.changes(), []);
}

#[test]
fn the_kernel_gives_none_of_them_to_connections() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    // Binding to port 0 chooses as connecting does.
    let chosen = || {
        let sockets: Vec<_> = (0..4).map_while(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()).collect();
        sockets.iter().map(|socket| socket.local_addr().expect("bound").port()).collect::<BTreeSet<u16>>()
    };
    let work = || {
        sysctl::set_here("net/ipv4/ip_local_port_range", "40000 40003")?;
        let mut reservation = acquire(&ranges("40000,40002-40003"), &run_dir)?;
        assert_eq!(chosen(), BTreeSet::from([40001]));
        reservation.replace(&ranges("40001"))?;
        assert_eq!(chosen(), BTreeSet::from([40000, 40002, 40003]));
        reservation.release()?;
        assert_eq!(chosen().len(), 4);
        Ok(())
    };
    node.ns.run(work).expect("reserve and bind");
}

#[test]
fn as_many_as_there_can_be_are_read_and_written_whole() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    let every_second = |first: u16| -> Vec<PortRange> {
        (first..=65_534).step_by(2).map(|port| PortRange::block(port, 1).expect("a port")).collect()
    };
    let work = || {
        // More than one page of text, which is what the kernel takes at a time.
        sysctl::set_here(SYSCTL, &format_ranges(&every_second(20_000)))?;
        let reservation = acquire(&every_second(10_000), &run_dir)?;
        assert_eq!(read()?, every_second(10_000));
        reservation.release()?;
        assert_eq!(read()?, every_second(20_000));
        sysctl::set_here(SYSCTL, &format_ranges(&every_second(2)))?;
        assert_eq!(read()?, every_second(2));
        Ok(())
    };
    node.ns.run(work).expect("reserve");
}

#[test]
fn a_failure_at_any_step_reserves_nothing() {
    let node = TestNs::new("reserve");
    let run_dir = RunDir::new();
    let work = || {
        for step in 0..10 {
            let (outcome, failed) = fail_at(step, || acquire(&block(), &run_dir));
            if !failed {
                assert_eq!(step, 4);
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

#[test]
fn a_run_that_ends_at_any_step_of_a_replacement_is_undone_and_taken_over_exactly() {
    let node = TestNs::new("reserve");
    for next_agent_goes_on in [false, true] {
        for step in 0..=3 {
            let run_dir = RunDir::new();
            let work = || {
                sysctl::set_here(SYSCTL, "80,9003")?;
                let mut reservation = acquire(&ranges("9000-9001"), &run_dir)?;
                let (outcome, failed) = fail_at(step, || reservation.replace(&ranges("9001-9004")));
                assert_eq!(failed, step < 3);
                assert_eq!(outcome.is_err(), failed);
                drop(reservation);
                if next_agent_goes_on {
                    let mut adopted = Reservation::adopt(Purpose::Static, &run_dir.journal)?.expect("in the journal");
                    assert!(Reservation::adopt(Purpose::FrontPorts, &run_dir.journal)?.is_none());
                    adopted.replace(&ranges("9004"))?;
                    assert_eq!(sysctl::get_here(SYSCTL)?, "80,9003-9004", "step {step}");
                    adopted.release()?;
                } else {
                    run_dir.journal.abandon()?;
                    recover(&run_dir.path)?;
                }
                assert_eq!(sysctl::get_here(SYSCTL)?, "80,9003", "step {step}");
                Ok(())
            };
            node.ns.run(work).expect("replace");
        }
    }
}
