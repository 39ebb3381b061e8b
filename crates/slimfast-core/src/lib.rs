//! SlimFast's data path on one node. No JavaScript types here; `slimfast-napi` wraps [`node`].

pub mod admission;
pub mod counters;
pub mod datapath;
pub mod dispenser;
pub mod error;
#[cfg(any(test, fuzzing))]
mod fuzzing;
pub mod host;
pub mod keeper;
pub mod node;
pub mod owner;
pub mod probe;
pub mod supervisor;
pub mod sys;
