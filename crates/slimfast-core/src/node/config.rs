//! What a node is opened with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use slimfast_seccomp::scm;

use crate::datapath::accounts::EndpointLimits;
use crate::error::{Error, Result};
use crate::host::ports::PortRange;

/// Front ports of one node at most: more would not help before the host's memory runs out.
const MAX_FRONT_PORTS: u16 = 64;
// The keeper gets the sockets that hold them in one message.
const _: () = assert!(MAX_FRONT_PORTS as usize <= scm::MAX_FDS);
/// Of a node's name (RFC 1123).
const MAX_NAME_BYTES: usize = 63;

#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// A DNS label.
    pub node_name: String,
    /// An address of the network namespace that the node is opened in.
    pub underlay: Ipv4Addr,
    /// Front ports: first .. first + count - 1.
    pub front_first: u16,
    pub front_count: u16,
    /// cgroup v2 path below the mount.
    pub cgroup: String,
    /// Directory for sockets, pins and the journal.
    pub run_dir: PathBuf,
    /// The program `slimfast-keeper`.
    pub keeper: PathBuf,
    /// UDP port of the VXLAN overlay.
    pub vxlan_port: u16,
    /// What each endpoint of the node may have.
    pub endpoint_limits: EndpointLimits,
}

impl NodeConfig {
    /// [`Error::Invalid`] names the first field that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        if !is_dns_label(&self.node_name) {
            return Err(Error::invalid(
                "nodeName",
                format!("{:?} is not a DNS label: 1 to 63 of a-z, 0-9 and -, not - at an end", self.node_name),
            ));
        }
        if self.front_count == 0 || self.front_count > MAX_FRONT_PORTS {
            return Err(Error::invalid(
                "frontPortCount",
                format!("must be 1 to {MAX_FRONT_PORTS}: {}", self.front_count),
            ));
        }
        if self.front_first == 0 || self.front_first.checked_add(self.front_count - 1).is_none() {
            return Err(Error::invalid(
                "frontPortFirst",
                format!("{} ports from {} on do not fit into 1 to 65535", self.front_count, self.front_first),
            ));
        }
        if self.vxlan_port == 0 {
            return Err(Error::invalid("vxlanPort", "must be 1 to 65535"));
        }
        if !self.keeper.is_absolute() {
            return Err(Error::invalid("keeper", format!("{} is not an absolute path", self.keeper.display())));
        }
        if !self.run_dir.is_absolute() {
            return Err(Error::invalid("runDir", format!("{} is not an absolute path", self.run_dir.display())));
        }
        self.endpoint_limits.check()
    }

    /// The block of front ports, once checked.
    pub(super) fn front_ports(&self) -> Result<PortRange> {
        PortRange::block(self.front_first, self.front_count)
    }

    /// What the next agent must be opened with as well, to take the node over.
    pub(super) fn options(&self) -> BTreeMap<String, String> {
        let options = [
            ("nodeName", self.node_name.clone()),
            ("underlayAddress", self.underlay.to_string()),
            ("frontPorts", format!("{}:{}", self.front_first, self.front_count)),
            ("cgroup", self.cgroup.clone()),
            ("vxlanPort", self.vxlan_port.to_string()),
        ];
        options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NodeConfig {
        NodeConfig {
            node_name: "node-1".into(),
            underlay: Ipv4Addr::new(10, 200, 0, 1),
            front_first: 7000,
            front_count: 16,
            cgroup: "slimfast/node-1".into(),
            run_dir: "/run/slimfast/node-1".into(),
            keeper: "/usr/libexec/slimfast-keeper".into(),
            vxlan_port: 4789,
            endpoint_limits: EndpointLimits::default(),
        }
    }

    fn wrong_field(config: NodeConfig) -> &'static str {
        match config.check() {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_the_wrong_field() {
        config().check().expect("a good configuration");
        NodeConfig { front_first: 65535, front_count: 1, ..config() }.check().expect("the last port");
        for name in ["", "-a", "a-", "A", "a.b", "a/b", &"a".repeat(64)] {
            assert_eq!(wrong_field(NodeConfig { node_name: name.into(), ..config() }), "nodeName");
        }
        assert_eq!(wrong_field(NodeConfig { front_count: 0, ..config() }), "frontPortCount");
        assert_eq!(wrong_field(NodeConfig { front_count: 65, ..config() }), "frontPortCount");
        assert_eq!(wrong_field(NodeConfig { front_first: 0, ..config() }), "frontPortFirst");
        assert_eq!(wrong_field(NodeConfig { front_first: 65530, ..config() }), "frontPortFirst");
        assert_eq!(wrong_field(NodeConfig { vxlan_port: 0, ..config() }), "vxlanPort");
        let limits = EndpointLimits { connects_per_second: 0, ..EndpointLimits::default() };
        assert_eq!(wrong_field(NodeConfig { endpoint_limits: limits, ..config() }), "endpointLimits.connectsPerSecond");
        assert_eq!(wrong_field(NodeConfig { run_dir: "run".into(), ..config() }), "runDir");
        assert_eq!(wrong_field(NodeConfig { keeper: "slimfast-keeper".into(), ..config() }), "keeper");
    }
}
