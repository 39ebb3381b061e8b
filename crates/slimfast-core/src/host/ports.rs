//! Owns the host's TCP ports that SlimFast takes for itself, the block of front ports and published ports, and those that
//! operators have it keep free for others. They are taken out of the ephemeral range ([`reserve`]); its own are held against
//! other programs ([`PortHold`]).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hold;
mod owner;
mod range;
mod reserve;

pub use self::hold::PortHold;
pub use self::range::{PortRange, format_ranges, parse_ranges};
pub(super) use self::reserve::release_reserved_here;
pub use self::reserve::{Purpose, Reservation};
