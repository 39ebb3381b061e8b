//! Owns the host's TCP ports that SlimFast takes for itself: the block of front ports and published ports. They are
//! taken out of the ephemeral range ([`reserve`]) and held against other programs ([`PortHold`]).

mod hold;
mod owner;
mod range;
mod reserve;

pub use self::hold::PortHold;
pub use self::range::{PortRange, format_ranges, parse_ranges};
pub use self::reserve::Reservation;
pub(super) use self::reserve::release_reserved_here;
