//! What the next agent has to know of a node that it takes over: what it cannot ask the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::uplink::Aliases;
use crate::owner::{Addresses, EndpointKey};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRecord {
    /// What the node was opened with, by the names of the options; the next agent must be opened with the same.
    pub options: BTreeMap<String, String>,
    pub endpoints: Vec<EndpointRecord>,
    pub uplinks: Vec<UplinkRecord>,
    /// The agent's own notes on the policies of each network, by VNI.
    pub policies: BTreeMap<u32, String>,
}

/// How far an endpoint has got. What is between two states when the agent ends is detached by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointStage {
    Attaching,
    Attached,
    Detaching,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRecord {
    pub endpoint: EndpointKey,
    #[serde(flatten)]
    pub addresses: Addresses,
    pub netns_name: String,
    /// (host port, port of the endpoint)
    pub published: Vec<(u16, u16)>,
    pub is_plain: bool,
    /// Whether the node's own processes reach it by IPv4.
    pub is_routed: bool,
    /// The same by IPv6.
    #[serde(default)]
    pub is_routed6: bool,
    pub stage: EndpointStage,
    /// The agent's own, which it gets back.
    pub note: String,
}

/// A network's wire to the node's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UplinkRecord {
    pub vni: u32,
    /// Its block of addresses there; none if it has no IPv4 addresses.
    #[serde(flatten)]
    pub aliases: Option<Aliases>,
}
