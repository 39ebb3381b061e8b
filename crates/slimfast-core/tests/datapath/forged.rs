//! SYNs that are made by hand, with options that no node writes.

use std::net::Ipv6Addr;
use std::time::Instant;

use socket2::{Domain, Protocol, Type};

use super::*;

const OWNER: EndpointKey = EndpointKey { vni: 44, id: 11 };
const CLIENT: EndpointKey = EndpointKey { vni: 44, id: 12 };
const PREFIX: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x32, 0, 0, 0, 0, 0, 0), 64);
const PORT: u16 = 80;

fn address(key: EndpointKey) -> Ipv6Addr {
    Ipv6Addr::from_bits(PREFIX.0.to_bits() | u128::from(key.id))
}

/// The Internet checksum of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    (!((folded >> 16) + folded) as u16).to_be_bytes()
}

/// A SYN from the node itself to its first front port, whose option is from CLIENT to OWNER.
fn syn(source_port: u16, version_flags: u8) -> Vec<u8> {
    let vni = OWNER.vni.to_be_bytes();
    let option = [
        &[254, 20, 0x53, 0x46, version_flags, vni[1], vni[2], vni[3]][..],
        &OWNER.id.to_be_bytes(),
        &CLIENT.id.to_be_bytes(),
        &PORT.to_be_bytes(),
        &40_000u16.to_be_bytes(),
    ]
    .concat();
    let mut tcp =
        [&source_port.to_be_bytes()[..], &FRONT.to_be_bytes(), &[0; 8], &[10 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]].concat();
    tcp.extend(option);
    let ends = [NODE.octets(), NODE.octets()].concat();
    let sum = checksum(&[&ends[..], &[0, 6, 0, tcp.len() as u8], &tcp].concat());
    tcp[16..18].copy_from_slice(&sum);
    // The kernel fills in length and checksum.
    [&[0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0][..], &ends, &tcp].concat()
}

/// What SYNs leave behind whose handshakes never end, and what comes after them.
#[test]
fn more_handshakes_than_fit_into_the_near_sets_find_a_place() {
    /// More than the near sets have places: SF_NEAR_SETS * SF_HANDSHAKE_WAYS.
    const UNFINISHED: u16 = 1_000;
    let node = Node::start();
    for key in [OWNER, CLIENT] {
        node.attach(key, Addresses { v4: None, v6: Some(address(key)) }, Prefixes { v4: None, v6: Some(PREFIX) });
    }
    let listener = node.listener(OWNER, any6(PORT));
    let wire = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).expect("a raw socket");
    let send_all = || {
        let seen = node.counter("syns_seen") + u64::from(UNFINISHED);
        for port in 0..UNFINISHED {
            wire.send_to(&syn(20_000 + port, 0x20), &v4(NODE, 0).into()).expect("send");
        }
        // Loopback delivers in the call itself, or leaves it to a thread of the kernel when there is much of it.
        let deadline = Instant::now() + Duration::from_secs(10);
        while node.counter("syns_seen") < seen {
            assert!(Instant::now() < deadline, "{} of {seen} SYNs arrived", node.counter("syns_seen"));
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let to = SocketAddr::V6(SocketAddrV6::new(address(OWNER), PORT, 0, 0));
    let connects = |count: usize| {
        for _ in 0..count {
            let client = node.connect(CLIENT, to).expect("connect");
            assert_eq!(peer(&client), to);
            let (accepted, from) = listener.accept().expect("accept");
            assert_eq!(from.as_socket().map(|from| from.ip()), Some(address(CLIENT).into()));
            assert_eq!(local(&accepted), to);
        }
    };
    send_all();
    let kept = node.handshakes();
    // Five of them in one far set are possible, and one of those gives way.
    assert!(kept <= UNFINISHED.into() && kept > usize::from(UNFINISHED) - 10, "{kept} of {UNFINISHED} are kept");
    // Every near place is taken, so each of these has a far one, and leaves it.
    connects(64);
    assert!(node.handshakes() <= kept && node.handshakes() > kept - 10);
    // The same SYNs once more: each has one place still, near or far.
    send_all();
    assert!(node.handshakes() <= UNFINISHED.into());
    connects(64);
    assert_eq!(node.counter("accepted_stray"), 0);
}

#[test]
fn a_syn_between_ipv6_addresses_that_claims_a_loopback_is_refused() {
    let node = Node::start();
    for key in [OWNER, CLIENT] {
        node.attach(key, Addresses { v4: None, v6: Some(address(key)) }, Prefixes { v4: None, v6: Some(PREFIX) });
    }
    let _listener = node.listener(OWNER, any6(PORT));
    let wire = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).expect("a raw socket");
    let send = |source_port, version_flags| {
        let seen = node.counter("syns_seen");
        wire.send_to(&syn(source_port, version_flags), &v4(NODE, 0).into()).expect("send");
        assert_eq!(node.counter("syns_seen"), seen + 1, "loopback delivers in the call itself");
    };
    send(50_000, 0x20);
    assert_eq!((node.counter("dispatched"), node.counter("syns_no_option")), (1, 0), "without the claim it is let in");
    for (refused, loopback) in (1..).zip([1, 2, 3]) {
        send(50_000 + loopback, 0x20 | loopback as u8);
        assert_eq!(node.counter("syns_no_option"), refused);
        assert_eq!(node.counter("refused_no_flow"), refused);
    }
    assert_eq!(node.counter("dispatched"), 1);
}
