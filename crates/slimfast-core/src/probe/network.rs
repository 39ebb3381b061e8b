//! Owns trying out namespaces and the two kinds of devices that the overlay is made of.

use std::net::Ipv4Addr;

use netlink_packet_route::RouteNetlinkMessage;

use super::{Finding, missing};
use crate::error::Result;
use crate::host::netlink::{Mode, Netlink};
use crate::host::netns::{self, NetNs};
use crate::host::overlay::messages;

/// The UDP port does not matter: nothing else is in the namespace.
const VXLAN_PORT: u16 = 4789;
const MTU_BYTES: u32 = 1450;

pub(super) fn namespaces() -> Finding {
    match netns::in_temporary(|| Ok(())) {
        Ok(()) => Ok("made one and left it".to_owned()),
        Err(error) => missing(
            error.to_string(),
            "boot a kernel built with CONFIG_NET_NS; within a container, give it CAP_SYS_ADMIN",
        ),
    }
}

pub(super) fn veth() -> Finding {
    device("veth", "modprobe veth", |here| {
        let mac = |last| messages::mac_of(Ipv4Addr::new(10, 0, 0, last));
        messages::new_veth("probe0", mac(1), "probe1", mac(2), MTU_BYTES, here)
    })
}

pub(super) fn vxlan() -> Finding {
    device("VXLAN", "modprobe vxlan", |here| {
        messages::new_vxlan("probe0", 1, Ipv4Addr::LOCALHOST, VXLAN_PORT, MTU_BYTES, here)
    })
}

fn device(kind: &str, module: &str, request: fn(&NetNs) -> RouteNetlinkMessage) -> Finding {
    let created: Result<()> = netns::in_temporary(|| {
        let here = NetNs::current()?;
        Netlink::open_here()?.request(&format!("creating a {kind} device"), request(&here), Mode::Create)
    });
    match created {
        Ok(()) => Ok(format!("a {kind} device was made in a namespace of its own")),
        Err(error) => missing(error.to_string(), format!("load the kernel module: {module}")),
    }
}
