//! An address that goes from owner to owner, seen from a node that is held stale: whatever it still believes, no connection reaches
//! an owner that it was not meant for.

use super::*;

/// With `--full` the second.
const REUSES: [u32; 2] = [200, 100_000];
const PORT: u16 = 80;
/// How many owners the stale entry may be behind.
const LAGS: [u32; 4] = [1, 2, 7, 100];

#[test]
fn a_node_that_is_held_stale_never_reaches_the_next_owner_of_an_address() {
    let node = Node::start();
    let is_full = std::env::var_os("SLIMFAST_TEST_FULL").is_some_and(|value| value == "1");
    let reuses = REUSES[usize::from(is_full)];
    let owner = |generation: u32| EndpointKey { vni: A.vni, id: 1_000 + generation };
    let address = Ipv4Addr::new(10, 32, 7, 7);
    let believe = |generation| node.tables.set_peer(owner(generation), address, NODE, (FRONT, 16)).expect("set a peer");
    let (mut refused, mut reached) = (0, 0);
    for generation in 0..reuses {
        let present = owner(generation);
        node.tables.set_endpoint(present, address).expect("set an endpoint");
        node.sockets.admit(present);
        let listener = node.listener(present, any(PORT));
        listener.set_nonblocking(true).expect("set O_NONBLOCK");
        for lag in LAGS.into_iter().filter(|&lag| lag <= generation) {
            believe(generation - lag);
            let error = node.connect(A, v4(address, PORT)).expect_err("the former owner is gone");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "owner {generation}, {lag} behind");
            refused += 1;
        }
        let nobody = listener.accept().err().map(|error| error.kind());
        assert_eq!(nobody, Some(ErrorKind::WouldBlock), "owner {generation} got a connection of a former one's");
        // Now and then the node learns of the present owner, to whom the address leads then.
        if generation % 16 == 0 {
            believe(generation);
            let client = node.connect(A, v4(address, PORT)).expect("connect");
            listener.set_nonblocking(false).expect("clear O_NONBLOCK");
            exchange(&listener, &client, A_ADDRESS, v4(address, PORT));
            reached += 1;
        }
        drop(listener);
        node.sockets.dismiss(present);
        node.tables.remove_endpoint(present).expect("remove the endpoint");
    }
    println!(
        "{reuses} owners of one address: {refused} connections to former ones refused, {reached} to present ones, 0 astray"
    );
    // On a busy machine a SYN is repeated before its answer is read.
    assert!(node.counter("refused_unknown_endpoint") >= refused);
    assert_eq!(node.entries("ports"), 0);
}
