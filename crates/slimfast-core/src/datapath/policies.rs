//! Who may connect to whom, written into the maps that `bpf/policy.bpf.h` reads.
//!
//! A network's policy is replaced as a whole, in an order that opens nothing: new verdicts, then the endpoints'
//! identities, then the default, and only then what is no longer wanted is taken away. That holds as long as an identity
//! that is still in use keeps its meaning from one call to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::bpf_error;
use super::loader::Loaded;
use super::records::{bytes_of, read_record, sf_endpoint_key, sf_policy, sf_verdict_key};
use super::table::{put_bytes, remove};
use crate::error::{Error, Result};

/// Most verdicts of all networks together, as in `bpf/slimfast.h`.
pub const MAX_VERDICTS: usize = 262_144;

/// Bits of the key before the port.
const BITS_BEFORE_PORT: u32 = 96;

/// What holds for connections between two identities on some ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub from: u32,
    pub to: u32,
    /// Destination ports. Ranges of the same pair do not overlap.
    pub ports: RangeInclusive<u16>,
    pub is_allowed: bool,
}

/// All that one network's policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    pub vni: u32,
    /// What holds where no verdict does.
    pub is_default_deny: bool,
    /// (endpoint id, identity) of every endpoint of the network; identities are at least 1.
    pub identities: Vec<(u32, u32)>,
    pub verdicts: Vec<Verdict>,
}

/// (from, to, first port, prefix length of the port): a key of `verdicts` within one network.
type VerdictPlace = (u32, u32, u16, u8);

#[derive(Default)]
struct Written {
    identities: BTreeMap<u32, u32>,
    verdicts: BTreeMap<VerdictPlace, bool>,
}

/// The maps of policies, and what is in them.
pub struct Policies {
    policies: MapHandle,
    identities: MapHandle,
    verdicts: MapHandle,
    count: MapHandle,
    written: HashMap<u32, Written>,
    /// Networks whose policies are a former agent's: not set since.
    inherited: BTreeSet<u32>,
}

impl Policies {
    pub fn new(loaded: &Loaded) -> Result<Self> {
        let mut policies = Self {
            policies: loaded.map("policies")?,
            identities: loaded.map("identities")?,
            verdicts: loaded.map("verdicts")?,
            count: loaded.map(".data.policy")?,
            written: HashMap::new(),
            inherited: BTreeSet::new(),
        };
        policies.inherit()?;
        Ok(policies)
    }

    /// Reads what a former agent has written.
    fn inherit(&mut self) -> Result<()> {
        let failed = |error| bpf_error("read the policies of a former agent", &error);
        for key in self.policies.keys() {
            if let Some(vni) = read_u32(&key) {
                self.inherited.insert(vni);
                self.written.entry(vni).or_default();
            }
        }
        for key in self.identities.keys() {
            let value = self.identities.lookup(&key, MapFlags::ANY).map_err(failed)?;
            if let (Some(key), Some(identity)) =
                (read_record::<sf_endpoint_key>(&key), value.as_deref().and_then(read_u32))
            {
                self.written.entry(key.vni).or_default().identities.insert(key.id, identity);
            }
        }
        for key in self.verdicts.keys() {
            let value = self.verdicts.lookup(&key, MapFlags::ANY).map_err(failed)?;
            if let (Some((vni, place)), Some([is_allowed])) = (verdict_place(&key), value.as_deref()) {
                self.written.entry(vni).or_default().verdicts.insert(place, *is_allowed != 0);
            }
        }
        // Of a network that a former agent was about to remove, or to set for the first time.
        self.inherited.extend(self.written.keys());
        Ok(())
    }

    /// Takes away the policies of a former agent that were not set since; says of which networks.
    pub fn drop_inherited(&mut self) -> Result<BTreeSet<u32>> {
        let inherited = self.inherited.clone();
        for vni in &inherited {
            self.remove(*vni)?;
        }
        Ok(inherited)
    }

    /// Replaces what was set for the network.
    ///
    /// # Errors
    /// [`Error::Invalid`] for overlapping ranges, identity 0 and more than [`MAX_VERDICTS`] entries; nothing is changed
    /// then.
    pub fn set(&mut self, policy: &NetworkPolicy) -> Result<()> {
        let wanted = Written { identities: identities_of(policy)?, verdicts: verdicts_of(policy)? };
        let others: usize =
            self.written.iter().filter(|(vni, _)| **vni != policy.vni).map(|(_, written)| written.verdicts.len()).sum();
        // While they are exchanged, the former ones are there as well.
        let former = self.written.entry(policy.vni).or_default();
        let both = former.verdicts.keys().filter(|place| !wanted.verdicts.contains_key(place)).count();
        if others + both + wanted.verdicts.len() > MAX_VERDICTS {
            let needed = wanted.verdicts.len();
            return Err(Error::invalid(
                "verdicts",
                format!("the policies of network {} need {needed} entries, and a node has {MAX_VERDICTS}", policy.vni),
            ));
        }
        for (&place, &is_allowed) in &wanted.verdicts {
            if former.verdicts.get(&place) != Some(&is_allowed) {
                put_bytes(&self.verdicts, &verdict_key(policy.vni, place), &[u8::from(is_allowed)])?;
                former.verdicts.insert(place, is_allowed);
            }
        }
        for (&id, &identity) in &wanted.identities {
            if former.identities.get(&id) != Some(&identity) {
                put_bytes(&self.identities, bytes_of(&endpoint_key(policy.vni, id)), &identity.to_ne_bytes())?;
                former.identities.insert(id, identity);
            }
        }
        let value = sf_policy { is_default_deny: u32::from(policy.is_default_deny) };
        put_bytes(&self.policies, &policy.vni.to_ne_bytes(), bytes_of(&value))?;
        self.write_count()?;
        self.inherited.remove(&policy.vni);
        self.take_away(policy.vni, &wanted)
    }

    /// The network has no policies any more: everything is allowed in it. Idempotent.
    pub fn remove(&mut self, vni: u32) -> Result<()> {
        self.inherited.remove(&vni);
        if !self.written.contains_key(&vni) {
            return Ok(());
        }
        remove(&self.policies, &vni.to_ne_bytes())?;
        self.take_away(vni, &Written::default())?;
        self.written.remove(&vni);
        self.write_count()
    }

    /// Deletes what is written for the network and not in `wanted`.
    fn take_away(&mut self, vni: u32, wanted: &Written) -> Result<()> {
        let Some(written) = self.written.get_mut(&vni) else { return Ok(()) };
        let old: Vec<_> = written.identities.keys().filter(|id| !wanted.identities.contains_key(id)).copied().collect();
        for id in old {
            remove(&self.identities, bytes_of(&endpoint_key(vni, id)))?;
            written.identities.remove(&id);
        }
        let old: Vec<_> =
            written.verdicts.keys().filter(|place| !wanted.verdicts.contains_key(place)).copied().collect();
        for place in old {
            remove(&self.verdicts, &verdict_key(vni, place))?;
            written.verdicts.remove(&place);
        }
        Ok(())
    }

    fn write_count(&self) -> Result<()> {
        let count = u32::try_from(self.written.len()).unwrap_or(u32::MAX);
        self.count
            .update(&0u32.to_ne_bytes(), &count.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| bpf_error("count the networks with policies", &error))
    }
}

fn endpoint_key(vni: u32, id: u32) -> sf_endpoint_key {
    sf_endpoint_key { vni, id }
}

fn verdict_key(vni: u32, (from, to, port, length): VerdictPlace) -> [u8; size_of::<sf_verdict_key>()] {
    let key = sf_verdict_key { prefix_length: BITS_BEFORE_PORT + u32::from(length), vni, from, to, port: port.to_be() };
    let mut bytes = [0; size_of::<sf_verdict_key>()];
    bytes.copy_from_slice(bytes_of(&key));
    bytes
}

/// The inverse of [`verdict_key`].
fn verdict_place(key: &[u8]) -> Option<(u32, VerdictPlace)> {
    let sf_verdict_key { prefix_length, vni, from, to, port } = read_record(key)?;
    let length = u8::try_from(prefix_length.checked_sub(BITS_BEFORE_PORT)?).ok()?;
    Some((vni, (from, to, u16::from_be(port), length)))
}

fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

fn identities_of(policy: &NetworkPolicy) -> Result<BTreeMap<u32, u32>> {
    if policy.identities.iter().any(|&(_, identity)| identity == 0) {
        return Err(Error::invalid("identities", "must be at least 1"));
    }
    Ok(policy.identities.iter().copied().collect())
}

fn verdicts_of(policy: &NetworkPolicy) -> Result<BTreeMap<VerdictPlace, bool>> {
    let mut verdicts = BTreeMap::new();
    let mut ranges: BTreeSet<(u32, u32, u16, u16)> = BTreeSet::new();
    for Verdict { from, to, ports, is_allowed } in &policy.verdicts {
        if ports.is_empty() {
            return Err(Error::invalid("verdicts", format!("{}-{} is no range of ports", ports.start(), ports.end())));
        }
        ranges.insert((*from, *to, *ports.start(), *ports.end()));
        for (first, length) in prefixes_of(ports) {
            verdicts.insert((*from, *to, first, length), *is_allowed);
        }
    }
    let overlap = ranges.len() != policy.verdicts.len()
        || ranges
            .iter()
            .zip(ranges.iter().skip(1))
            .any(|(one, next)| (one.0, one.1) == (next.0, next.1) && next.2 <= one.3);
    if overlap {
        return Err(Error::invalid("verdicts", "ranges of ports of one pair overlap"));
    }
    Ok(verdicts)
}

/// The fewest prefixes (first port, length in bits) that cover the range and nothing else.
fn prefixes_of(ports: &RangeInclusive<u16>) -> Vec<(u16, u8)> {
    let mut prefixes = Vec::new();
    let mut next = u32::from(*ports.start());
    let last = u32::from(*ports.end());
    while next <= last {
        let aligned = if next == 0 { 16 } else { next.trailing_zeros().min(16) };
        let fits = (last - next + 1).ilog2();
        let bits = aligned.min(fits);
        prefixes.push((u16::try_from(next).unwrap_or(u16::MAX), u8::try_from(16 - bits).unwrap_or(16)));
        next += 1 << bits;
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::prefixes_of;

    #[test]
    fn prefixes_cover_a_range_exactly() {
        assert_eq!(prefixes_of(&(0..=65_535)), [(0, 0)]);
        assert_eq!(prefixes_of(&(80..=80)), [(80, 16)]);
        assert_eq!(prefixes_of(&(1..=65_535)).len(), 16);
        for (first, last) in [(0, 1), (1, 2), (7000, 7015), (1, 65_534), (65_535, 65_535), (1024, 49_151), (443, 8443)]
        {
            let mut covered = vec![false; 65_536];
            for (start, length) in prefixes_of(&(first..=last)) {
                for port in covered.iter_mut().skip(usize::from(start)).take(1 << (16 - length)) {
                    assert!(!std::mem::replace(port, true), "a port twice");
                }
            }
            for (port, covered) in covered.iter().enumerate() {
                assert_eq!(*covered, (usize::from(first)..=usize::from(last)).contains(&port), "{port}");
            }
        }
    }
}
