//! How the pinned maps are laid out, and how what one version has left in them becomes what the next one reads.
//!
//! A map whose layout is the same is taken over as it is, with all that programs and sockets have in it. One that is different
//! is made anew and filled from the old one, if there is a [`Conversion`] for it. That is for maps that only the core writes:
//! the programs of both versions may run for a moment, each with its own map, and find the same in them. For maps that the
//! programs write (`ports`, `sockets`, `listeners`, …) there can be none; their records have to grow at the end, into
//! padding.

use std::os::fd::AsFd;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapInfo, MapType};

use super::bpf_error;
use super::records::OBJECT;
use crate::error::Result;

/// Of pins that do not say which they have.
pub(super) const FIRST: u32 = 1;

/// The value of an entry of the layout before as this one has it.
pub(super) type Convert = fn(&[u8]) -> Vec<u8>;

/// One map that was laid out differently before.
#[derive(Debug)]
pub struct Conversion {
    pub map: &'static str,
    /// Before.
    pub value_size: u32,
    pub value: Convert,
}

/// The programs of one version, and what it knows of the version before.
#[derive(Debug)]
pub struct Build {
    pub object: &'static [u8],
    /// `SF_LAYOUT`
    pub layout: u32,
    /// From `layout - 1`.
    pub conversions: &'static [Conversion],
}

impl Build {
    pub const CURRENT: Self = Self {
        object: OBJECT,
        layout: 2,
        conversions: &[
            // Without `aliases`, which are last. The network gets its own when its router is taken over.
            Conversion { map: "networks", value_size: 40, value: |value| [value, &[0; 4]].concat() },
        ],
    };

    /// What becomes of a pinned map; `None` if this build cannot use it.
    pub(super) fn fate(&self, name: &str, pinned: Layout, wanted: Layout) -> Option<Fate> {
        if pinned == wanted {
            return Some(Fate::Reused);
        }
        let same_but_for_value = Layout { value_size: wanted.value_size, ..pinned } == wanted;
        let conversion = self.conversions.iter().find(|it| it.map == name && it.value_size == pinned.value_size);
        match conversion {
            Some(conversion) if same_but_for_value => Some(Fate::Converted(conversion.value)),
            _ if pinned.is_shorter_counters_than(wanted) => Some(Fate::Converted(<[u8]>::to_vec)),
            _ => None,
        }
    }
}

/// What becomes of a pinned map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Reused,
    Converted(Convert),
}

/// What two maps must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl Layout {
    pub fn of(map: &MapHandle) -> Result<Self> {
        let info =
            MapInfo::new(map.as_fd()).map_err(|error| bpf_error("ask for the layout of a pinned map", &error))?.info;
        Ok(Self {
            kind: info.type_,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
        })
    }

    pub fn wanted(map: &libbpf_rs::OpenMapMut<'_>) -> Self {
        Self {
            kind: map.map_type() as u32,
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
        }
    }

    /// Whether both count by index, each CPU on its own, and the other one counts more. Those that there were before keep their
    /// index (`SF_COUNTERS`); what is counted between the copy and the next program's start is lost.
    fn is_shorter_counters_than(self, wanted: Self) -> bool {
        self.kind == MapType::PercpuArray as u32
            && self.max_entries < wanted.max_entries
            && Self { max_entries: wanted.max_entries, ..self } == wanted
    }
}

/// Copies all entries.
pub(super) fn convert(from: &MapHandle, to: &MapHandle, convert: Convert) -> Result<()> {
    let name = from.name().to_string_lossy().into_owned();
    let failed = |error| bpf_error(format!("convert the entries of the BPF map {name}"), &error);
    let is_percpu = from.map_type().is_percpu();
    for key in from.keys() {
        if is_percpu {
            let Some(values) = from.lookup_percpu(&key, MapFlags::ANY).map_err(failed)? else { continue };
            let values: Vec<_> = values.iter().map(|value| convert(value)).collect();
            to.update_percpu(&key, &values, MapFlags::ANY).map_err(failed)?;
        } else {
            let Some(value) = from.lookup(&key, MapFlags::ANY).map_err(failed)? else { continue };
            to.update(&key, &convert(&value), MapFlags::ANY).map_err(failed)?;
        }
    }
    Ok(())
}
