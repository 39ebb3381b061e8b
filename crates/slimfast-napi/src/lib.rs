//! The Node.js addon: decodes, calls slimfast-core, encodes, and does nothing else. No defaults, no policy, no retries.
//!
//! ```text
//! node    the class and the module's functions
//! dto     the objects of ts/types.ts, from and to the core's types
//! errors  the core's errors as JSON in a JavaScript error's message; ts/errors.ts takes them from there
//! job     blocking calls on libuv's threads, as promises
//! ```

// Exports are registered in a real build only, so that one of tests sees nobody who uses them.
#![cfg_attr(test, allow(dead_code))]

mod dto;
mod errors;
mod job;
mod node;
