//! Holding ports in a namespace of the test's own, against listeners and binds of every kind.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::super::super::testing::TestNs;
use super::*;

const PORT: u16 = 7005;

fn block() -> PortRange {
    PortRange::block(7000, 16).expect("a block")
}

/// How a foreign program may ask for a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    None,
    ReuseAddr,
    ReuseBoth,
}

fn foreign_bind(node: &TestNs, address: IpAddr, sharing: Sharing) -> io::Result<Socket> {
    let bound = node.ns.run(|| {
        let attempt = || {
            let address = SocketAddr::new(address, PORT);
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            if sharing != Sharing::None {
                socket.set_reuse_address(true)?;
            }
            if sharing == Sharing::ReuseBoth {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&address.into())?;
            Ok(socket)
        };
        Ok(attempt())
    });
    bound.expect("a thread in the namespace")
}

/// For a port that is free, or is about to be: a process that another test is starting has, until its exec, every
/// descriptor of this one.
fn free_bind(node: &TestNs, address: IpAddr, sharing: Sharing) -> Socket {
    for _ in 0..100 {
        match foreign_bind(node, address, sharing) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(Duration::from_millis(10)),
            other => return other.expect("bind"),
        }
    }
    panic!("{address}:{PORT} does not become free");
}

fn addresses() -> [IpAddr; 4] {
    [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()]
}

fn assert_held(node: &TestNs) {
    for address in addresses() {
        for sharing in [Sharing::None, Sharing::ReuseAddr, Sharing::ReuseBoth] {
            let error = foreign_bind(node, address, sharing).map(|_| ()).expect_err("held");
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{address} {sharing:?}");
        }
    }
}

#[test]
fn a_held_port_cannot_be_bound_answers_nobody_and_is_free_again_afterwards() {
    let node = TestNs::new("hold");
    let hold = PortHold::acquire_in(&node.ns, block()).expect("hold");
    assert_eq!(hold.range(), block());
    assert_held(&node);
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        let answer = node.ns.run(|| Ok(TcpStream::connect((address, PORT)).map(|_| ())));
        assert_eq!(answer.expect("a thread").expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    }
    drop(hold);
    free_bind(&node, Ipv4Addr::UNSPECIFIED.into(), Sharing::None);
}

#[test]
fn whoever_has_a_port_is_named_and_nothing_stays_held() {
    let node = TestNs::new("hold");
    let me = format!("(pid {})", std::process::id());
    for address in addresses() {
        for (listens, sharing) in
            [(true, Sharing::None), (true, Sharing::ReuseBoth), (false, Sharing::None), (false, Sharing::ReuseAddr)]
        {
            let socket = free_bind(&node, address, sharing);
            if listens {
                socket.listen(1).expect("listen");
            }
            match PortHold::acquire_in(&node.ns, block()) {
                Err(Error::Conflict { what, holder }) => {
                    assert_eq!(what, "TCP port 7005");
                    assert!(holder.ends_with(&me), "{holder}");
                }
                other => panic!("{address} listens: {listens}, {sharing:?}: {other:?}"),
            }
        }
    }
    drop(free_bind(&node, Ipv4Addr::UNSPECIFIED.into(), Sharing::None));
    let hold = PortHold::acquire_in(&node.ns, block()).expect("hold");
    let again = PortHold::acquire_in(&node.ns, block()).expect_err("held by ourselves");
    assert!(again.to_string().starts_with("TCP port 7000 is taken by"), "{again}");
    drop(hold);
}

#[test]
fn connections_of_an_earlier_run_are_no_obstacle() {
    let node = TestNs::new("hold");
    // Without SO_REUSEADDR, so that the accepted connections do not share their port either.
    let listener = foreign_bind(&node, Ipv4Addr::LOCALHOST.into(), Sharing::None).expect("bind");
    listener.listen(4).expect("listen");
    let connect = || {
        let client = node
            .ns
            .run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).map_err(|e| Error::system("connect", "", e)));
        (client.expect("connect"), listener.accept().expect("accept").0)
    };
    let (ended_client, ended_server) = connect();
    // Closed by the server first: TIME_WAIT on its side.
    drop(ended_server);
    drop(ended_client);
    let (client, server) = connect();
    drop(listener);
    assert_eq!(
        foreign_bind(&node, Ipv4Addr::UNSPECIFIED.into(), Sharing::None).map(|_| ()).expect_err("in use").kind(),
        ErrorKind::AddrInUse
    );
    let hold = PortHold::acquire_in(&node.ns, block()).expect("hold");
    assert_held(&node);
    (&client).write_all(b"x").expect("the connection lives on");
    assert_eq!((&TcpStream::from(server)).read(&mut [0]).expect("read"), 1);
    assert_held(&node);
    drop(hold);
}

#[test]
fn without_ipv6_the_ipv4_port_is_held() {
    let node = TestNs::new("hold");
    let off = super::super::super::sysctl::Setting::required("net/ipv6/conf/all/disable_ipv6", "1");
    super::super::super::sysctl::set(&node.ns, &[off]).expect("IPv6 off");
    let hold = PortHold::acquire_in(&node.ns, block()).expect("hold");
    let listen = node.ns.run(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).map(|_| ())));
    assert_eq!(listen.expect("a thread").expect_err("held").kind(), ErrorKind::AddrInUse);
    drop(hold);
}
