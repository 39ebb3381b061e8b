//! Programs of one layout take over what those of the one before have left: the maps are converted, and nothing that is
//! established or listens notices.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use libbpf_rs::MapCore as _;
use slimfast_core::datapath::layouts::Build;
use slimfast_core::datapath::pins::Pins;
use slimfast_core::error::Error;

use super::*;

/// Compiled with `SF_LAYOUT` 1 by build.rs: networks without `aliases`, and one counter less.
const OLDER: Build =
    Build { object: include_bytes!(concat!(env!("OUT_DIR"), "/older.bpf.o")), layout: 1, conversions: &[] };
/// The layout after the next one, as far as this one can tell.
const FAR: Build = Build { layout: Build::CURRENT.layout + 2, ..Build::CURRENT };

/// All are there when the programs change; with `--full` the second: both ends are this process's, which may have 20,000 descriptors.
const CONNECTIONS: [usize; 2] = [300, 9_900];
const PORT: u16 = 80;
const CONSTANTS: NodeConstants = NodeConstants { address: NODE, front_first: FRONT, front_count: 16 };

/// A BPF file system of the test's own.
struct BpfFs(PathBuf);

impl BpfFs {
    fn mount() -> Self {
        let directory = std::env::temp_dir().join(format!("sf-test-pins-{}", std::process::id()));
        fs::create_dir(&directory).expect("make a directory");
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&directory).status().expect("run mount");
        assert!(mounted.success());
        Self(directory)
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status().expect("run umount");
        assert!(unmounted.success());
        fs::remove_dir(&self.0).expect("remove the directory");
    }
}

/// What an agent does with the maps when it starts.
fn open(loaded: &Loaded) -> Tables {
    let tables = Tables::new(loaded, EndpointLimits::default()).expect("open the maps");
    tables.set_node(NODE).expect("set the node");
    tables
}

fn echo(client: &mut Socket, accepted: &mut Socket, byte: u8) {
    let mut read = [0];
    client.write_all(&[byte]).expect("write");
    accepted.read_exact(&mut read).expect("read");
    accepted.write_all(&read).expect("write");
    client.read_exact(&mut read).expect("read");
    assert_eq!(read, [byte]);
}

fn layout_of(pins: &Path) -> String {
    fs::read_link(pins.join("live/layout")).expect("read the layout").display().to_string()
}

#[test]
fn an_older_layout_is_taken_over_and_nothing_breaks() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    own_namespace();
    let cgroup = Cgroup::enter();
    let bpf_fs = BpfFs::mount();
    let pins = Pins::at(&bpf_fs.0);
    let sockets = HostSockets::default();
    let socket = |owner| {
        let source = sockets.for_endpoint(owner, Tier::Notify).expect("a source of sockets");
        Socket::from(source.create(Family::Inet).expect("create a socket"))
    };

    // The older version: its record of a network is shorter, so that the test writes it by itself.
    let older = Loaded::load_build(&OLDER, CONSTANTS, &cgroup.0, &pins).expect("load the older programs");
    assert_eq!(layout_of(&bpf_fs.0), "1");
    let tables = open(&older);
    let network: Vec<u8> =
        [[10, 32, 0, 0], [255, 255, 0, 0]].concat().into_iter().chain([0; 16]).chain([0xff; 16]).collect();
    let networks = older.map("networks").expect("a map");
    networks.update(&A.vni.to_ne_bytes(), &network, libbpf_rs::MapFlags::ANY).expect("set a network");
    for (key, address) in [(A, A_ADDRESS), (B, B_ADDRESS)] {
        tables.set_endpoint(key, address).expect("set an endpoint");
        tables.set_peer(key, address, NODE, (FRONT, 16)).expect("set a peer");
        sockets.admit(key);
    }
    let listener = socket(B);
    listener.bind(&any(PORT).into()).expect("bind");
    listener.listen(16).expect("listen");
    let connect = || {
        let client = socket(A);
        client.connect(&v4(B_ADDRESS, PORT).into()).expect("connect");
        (client, listener.accept().expect("accept").0)
    };
    slimfast_core::sys::limits::raise_descriptor_limit();
    let is_full = std::env::var_os("SLIMFAST_TEST_FULL").is_some_and(|value| value == "1");
    let count = CONNECTIONS[usize::from(is_full)];
    let mut connections: Vec<_> = (0..count).map(|_| connect()).collect();
    let opened = |tables: &Tables| {
        let counters = tables.counters().expect("read the counters");
        counters.iter().find(|(name, _)| *name == "opened").expect("a counter").1
    };
    assert_eq!(opened(&tables), count as u64);
    drop((tables, networks, older));

    // Two versions later is too far: that agent is refused, and all goes on.
    let refused = Loaded::load_build(&FAR, CONSTANTS, &cgroup.0, &pins).err().expect("a refusal");
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("of layout 1") && said.contains("--fresh") && said.contains("in between"), "{said}");
    connections.push(connect());

    // The present version.
    let current = Loaded::load_pinned(CONSTANTS, &cgroup.0, &pins).expect("take over");
    assert_eq!(layout_of(&bpf_fs.0), Build::CURRENT.layout.to_string());
    let tables = open(&current);
    assert_eq!(tables.network(A.vni).expect("read").expect("a network").v4, Some((Ipv4Addr::new(10, 32, 0, 0), 16)));
    assert_eq!(current.map("networks").expect("a map").value_size(), 44);
    assert!(opened(&tables) >= connections.len() as u64, "counters go on");
    for (index, (client, accepted)) in connections.iter_mut().enumerate() {
        echo(client, accepted, u8::try_from(index % 256).expect("a byte"));
        assert_eq!(peer(client), v4(B_ADDRESS, PORT));
        assert_eq!(peer(accepted).ip(), std::net::IpAddr::V4(A_ADDRESS));
    }
    let listing = Listing::new(&current).expect("attach the iterators");
    assert_eq!(listing.listeners().expect("list").len(), 1);
    assert_eq!(listing.connections(usize::MAX).expect("list").len(), 2 * connections.len());
    // By the new programs, which know the network from the converted map.
    connections.push(connect());
    let nobody = v4(Ipv4Addr::new(10, 32, 9, 9), PORT);
    let refused = || socket(A).connect(&nobody.into()).expect_err("nobody has the address").kind();
    assert_eq!(refused(), ErrorKind::HostUnreachable, "inside of the network");
    tables.set_network(A.vni, (Ipv4Addr::new(10, 40, 0, 0), 16), None).expect("set the network");
    assert_eq!(refused(), ErrorKind::NetworkUnreachable, "the new programs read the new map");
    drop((tables, listing, current));

    // And the older version cannot come back.
    let refused = Loaded::load_build(&OLDER, CONSTANTS, &cgroup.0, &pins).err().expect("a refusal").to_string();
    assert!(refused.contains("newer than this agent"), "{refused}");
    let (client, accepted) = &mut connections[0];
    echo(client, accepted, 1);
    // The host's own sockets have never been touched.
    assert!(TcpStream::connect((NODE, FRONT)).is_err());
    drop((connections, listener));
    pins.remove().expect("remove the pins");
}

#[test]
fn an_upgrade_that_was_cut_short_is_made_once_more() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    own_namespace();
    let cgroup = Cgroup::enter();
    let bpf_fs = BpfFs::mount();
    let pins = Pins::at(&bpf_fs.0);
    drop(Loaded::load_build(&OLDER, CONSTANTS, &cgroup.0, &pins).expect("load the older programs"));
    // As if the agent had been killed in the last step, once after the first of its maps, once before it said so.
    let former = bpf_fs.0.join("live/maps/networks");
    let kept = bpf_fs.0.join("former");
    fs::hard_link(&former, &kept).or_else(|_| fs::rename(&former, &kept)).expect("keep the former map");
    if !former.exists() {
        libbpf_rs::MapHandle::from_pinned_path(&kept).expect("open").pin(&former).expect("pin");
    }
    drop(Loaded::load_pinned(CONSTANTS, &cgroup.0, &pins).expect("take over"));
    for restore_map in [true, false] {
        fs::remove_file(bpf_fs.0.join("live/layout")).expect("forget the layout");
        if restore_map {
            fs::remove_file(&former).expect("unpin");
            libbpf_rs::MapHandle::from_pinned_path(&kept).expect("open").pin(&former).expect("pin");
        }
        drop(Loaded::load_pinned(CONSTANTS, &cgroup.0, &pins).expect("take over once more"));
        assert_eq!(layout_of(&bpf_fs.0), Build::CURRENT.layout.to_string());
    }
    fs::remove_file(&kept).expect("unpin");
    pins.remove().expect("remove the pins");
}
